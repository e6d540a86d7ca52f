"""Where in a picture a score comes from: one call, six methods."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from anmok.errors import MissingExtra, SettingsError, did_you_mean
from anmok.explain.heatmap import Grid, HeatMap, place
from anmok.explain.occlusion import occlusion
from anmok.explain.patches import patches
from anmok.explain.question import ask
from anmok.models.spec import CnnSpec, HybridSpec, ResNetSpec
from anmok.pictures import read

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from anmok.encoder import Encoder
    from anmok.explain.question import Target

__all__ = ["METHODS", "Method", "chosen", "explain", "methods_of"]

Method = Literal["occlusion", "patches", "gradcam", "legrad", "relevance", "rollout"]
METHODS: tuple[Method, ...] = get_args(Method)
GRADIENTS = ("gradcam", "legrad", "relevance", "rollout")  # need torch and the weights

Kind = Literal["attention", "map", "resnet", "cnn"]  # of picture towers
OF_KIND: dict[Kind, tuple[Method, ...]] = {  # best first, as benchmarks/explain.py measured (docs/explaining.md)
    "attention": ("occlusion", "relevance", "patches", "legrad", "rollout"),
    "map": ("occlusion", "relevance", "rollout", "legrad", "patches"),
    "resnet": ("occlusion", "patches", "gradcam"),
    "cnn": ("occlusion", "patches", "gradcam"),
}


def explain(
    encoder: Encoder,
    picture: Target,
    target: Target,
    *,
    method: Method | Literal["auto"] = "auto",
    against: Target | None = None,
) -> HeatMap:
    """Where in the picture its score with the target comes from.

    Args:
        encoder: any.
        picture: path, bytes, PIL picture or uint8 array [h, w, 3].
        target: a text (every `str` is one) or another picture (Path, bytes, PIL, array).
        method: one of METHODS, or "auto": the one that was measured best for such a tower among those that can be
            used here.

            - "occlusion" covers parts and sees how far the score falls. Any tower, any engine; 200 encodings.
            - "patches" compares each patch with the target. One encoding.
            - "gradcam" (convolutional towers), "legrad", "relevance" and "rollout" (transformers) need the extra
              `train`. Rollout shows where the tower looks, whatever the target is.
        against: another text or picture; then the map is of the difference: why this and not that.

    Returns:
        A HeatMap over the original picture.

    Raises:
        SettingsError: the tower is not one for this method, or the method is unknown.
        MissingExtra: the method needs torch.
        PictureError, TextError: picture or target cannot be used.
    """
    used = chosen(encoder, method)
    if used == "rollout" and against is not None:
        raise SettingsError("attention rollout is the same for every target: it has no difference to show")
    image = read(picture)
    question = ask(encoder, target, against)
    score = float(question.score(encoder.encode_image(image).vectors)[0])
    if used == "occlusion":
        grid = occlusion(encoder, image, question.toward)
    elif used == "patches":
        grid = patches(encoder, image, question.toward)
    else:
        grid = _with_gradients(encoder, image, question.toward, used, both=against is not None)
    window = encoder.checkpoint.transform.window((image.height, image.width))
    values, strength, seen = place(grid, window, (image.height, image.width))
    return HeatMap(values, used, score, strength, seen)


def methods_of(encoder: Encoder) -> tuple[Method, ...]:
    """The methods that can be used with this encoder here, best first."""
    exported, torch = encoder.checkpoint.exports is not None, find_spec("torch") is not None
    return tuple(
        method
        for method in OF_KIND[_kind(encoder)]
        if not (exported and method != "occlusion") and (torch or method not in GRADIENTS)
    )


def chosen(encoder: Encoder, method: str) -> Method:
    """The method that runs for what `explain` is given.

    Raises:
        SettingsError: it is unknown, or not one for this tower.
        MissingExtra: it needs torch.
    """
    if method == "auto":
        return methods_of(encoder)[0]
    known = next((name for name in METHODS if name == method), None)
    if known is None:
        raise SettingsError(f"method {method!r} is unknown: {', '.join(METHODS)}.{did_you_mean(method, METHODS)}")
    fitting = OF_KIND[_kind(encoder)]
    if known not in fitting:
        raise SettingsError(
            f"method {method!r} is not one for the picture tower of {encoder.name}: {', '.join(fitting)}"
        )
    if encoder.checkpoint.exports is not None and known != "occlusion":
        raise SettingsError(f"{encoder.name} holds ready ONNX graphs, whose insides are closed: method='occlusion'")
    if known in GRADIENTS and find_spec("torch") is None:
        raise MissingExtra("torch", "train", f"method={known!r}")
    return known


def _kind(encoder: Encoder) -> Kind:
    image = encoder.checkpoint.spec.image
    if isinstance(image, ResNetSpec):
        return "resnet"
    if isinstance(image, CnnSpec):
        return "cnn"
    return "map" if (image.vit if isinstance(image, HybridSpec) else image).pool == "map" else "attention"


def _with_gradients(
    encoder: Encoder, image: Image.Image, toward: NDArray[np.float32], method: Method, *, both: bool
) -> Grid:
    """A method of torch; with `both`, what speaks against is taken off: the map of the other direction."""
    import torch

    from anmok.explain import attention, gradcam, trace

    direction = torch.from_numpy(np.asarray(toward, np.float32))
    signs = (1.0, -1.0) if both else (1.0,)
    if method == "gradcam":
        embedding, features = gradcam.feature_map(encoder.checkpoint, image)
        maps = [sign * gradcam.gradcam(embedding, features, sign * direction) for sign in signs]
        return Grid(torch.stack(maps).sum(dim=0).numpy())
    ran = trace.run(encoder.checkpoint, image)
    if method == "rollout":
        return Grid(attention.rollout(ran).numpy(), ran.covered)
    way = attention.legrad if method == "legrad" else attention.relevance
    maps = [sign * way(ran, sign * direction) for sign in signs]
    return Grid(torch.stack(maps).sum(dim=0).numpy(), ran.covered)
