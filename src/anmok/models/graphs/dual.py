"""The two towers as two graphs, as in `modules/dual.py`.

Pictures and texts are encoded at different times, so each tower is a graph of its own. What joins
them, a dot product of unit vectors times the logit scale, needs no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.dense import dense_shapes
from anmok.models.graphs.bag import bag_of_words
from anmok.models.graphs.builder import Builder
from anmok.models.graphs.cnn import conv_net
from anmok.models.graphs.hybrid import hybrid_transformer
from anmok.models.graphs.resnet import modified_resnet
from anmok.models.graphs.text import text_transformer
from anmok.models.graphs.vit import vision_transformer
from anmok.models.spec import BagSpec, CnnSpec, ResNetSpec, VitSpec
from anmok.models.weights import check_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Graph
    from anmok.models.spec import DualSpec
    from anmok.models.weights import Array, Weights

__all__ = ["image_graph", "naflex_inputs", "text_graph"]


def image_graph(
    spec: DualSpec, weights: Weights, *, mean: Sequence[float], std: Sequence[float], dense: bool = False
) -> Graph:
    """The picture tower.

    Input `pixels` uint8 [n, h, w, 3], 0..255; for NaFlex see `naflex_inputs`. Output `embedding`
    float32 [n, d], not of unit length. A dense graph has two more, of the shapes that `dense_shapes` says:
    `patch_embeddings` float32 [n, h, w, d], each place in the shared space, not of unit length, and `local` float32
    [n, h', w', c], the middle of the tower. (NaFlex: [n, m, d] and [n, m, c]; what stands for padding means nothing.)

    Args:
        spec: the model.
        weights: arrays of any float type, named as in `weight_shapes(spec)`.
        mean: of red, green and blue, for pixels of 0..1. Normalization is part of the graph.
        std: likewise.
        dense: whether places are given, too. What they are and from where: `models/dense.py`.

    Raises:
        WeightsMismatch: arrays are missing, unexpected or of another shape.
    """
    check_weights(spec, weights)
    g = Builder(weights)
    if isinstance(spec.image, ResNetSpec):
        output, places = modified_resnet(g, spec.image, mean=mean, std=std, dense=dense)
    elif isinstance(spec.image, CnnSpec):
        output, places = conv_net(g, spec.image, mean=mean, std=std, dense=dense)
    elif isinstance(spec.image, VitSpec):
        output, places = vision_transformer(g, spec.image, mean=mean, std=std, dense=dense)
    else:
        output, places = hybrid_transformer(g, spec.image, mean=mean, std=std, dense=dense)
    if places is None:
        return g.finish("image", output, ["n", spec.dimension])
    patches, local = (["n", *shape] for shape in dense_shapes(spec))
    more = {"patch_embeddings": (places.patches, patches), "local": (places.local, local)}
    return g.finish("image", output, ["n", spec.dimension], **more)


def text_graph(spec: DualSpec, weights: Weights, *, shares_beginnings: bool = False) -> Graph:
    """The text tower.

    Input `ids` int64 [n, l]; l may be anything from the longest text of the batch up to
    `context_length` for CLIP and a bag of words (the result is the same) and is `context_length` for SigLIP. Output
    `embedding` float32 [n, d], not of unit length.

    Args:
        spec: the model.
        weights: arrays of any float type, named as in `weight_shapes(spec)`.
        shares_beginnings: for a transformer that trims: also take `past` float32 [layers, 2, heads, p, width/heads],
            what p tokens before those in `ids` have left in every layer, and give `seen`, what the first text of this
            batch leaves there. So a beginning that many texts have in common is run once.

    Raises:
        WeightsMismatch: arrays are missing, unexpected or of another shape.
    """
    check_weights(spec, weights)
    g = Builder(weights)
    if isinstance(spec.text, BagSpec):
        return g.finish("text", bag_of_words(g, spec.text), ["n", spec.dimension])
    output, seen = text_transformer(g, spec.text, shares_beginnings=shares_beginnings)
    if seen is None:
        return g.finish("text", output, ["n", spec.dimension])
    states = (spec.text.layers, 2, spec.text.heads, "l", spec.text.width // spec.text.heads)
    return g.finish("text", output, ["n", spec.dimension], seen=(seen, states))


def naflex_inputs(spec: DualSpec, patches: Array, mask: Array, shapes: Array) -> dict[str, Array]:
    """What a NaFlex picture graph is fed.

    Args:
        spec: a model with a NaFlex tower.
        patches: uint8 [n, m, p*p*3], each patch in the order row, column, channel; padded to m.
        mask: [n, m], true (or 1) where a patch is real.
        shapes: [n, 2], rows and columns of patches of each picture.

    Raises:
        ValueError: the model has no NaFlex tower, or the shapes do not fit together.
    """
    if not isinstance(spec.image, VitSpec) or not spec.image.naflex:
        raise ValueError("the model's picture tower takes `pixels` of one size, not patches (it is not a NaFlex tower)")
    n, m, size = len(patches), patches.shape[1], spec.image.patch_size**2 * 3
    if patches.shape != (n, m, size) or mask.shape != (n, m) or shapes.shape != (n, 2):
        raise ValueError(
            f"expected patches [n, m, {size}], mask [n, m] and shapes [n, 2], "
            f"got {list(patches.shape)}, {list(mask.shape)} and {list(shapes.shape)}"
        )
    return {
        "patches": patches.astype(np.uint8, copy=False),
        "mask": mask.astype(np.bool_, copy=False),
        "shapes": shapes.astype(np.int64, copy=False),
    }
