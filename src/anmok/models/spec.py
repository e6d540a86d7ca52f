"""What a model is, as data: the spec of each tower and of the dual model that joins them.

A spec and named arrays are the whole model. `modules/` runs them as PyTorch modules,
`graphs/` as an ONNX graph; the names of the arrays are the same in both, and
`weight_shapes` lists them. Shape letters used everywhere:

    n pictures or texts · l tokens · w width · d dimension of the shared space · h heads

Sources: CLIP (Radford et al. 2021, arXiv 2103.00020), SigLIP (Zhai et al. 2023, arXiv
2303.15343), SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anmok.errors import CheckpointError

__all__ = ["Activation", "DualSpec", "ResNetSpec", "TextSpec", "VitSpec", "weight_shapes"]

Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class VitSpec:
    """A vision transformer (Dosovitskiy et al. 2020) as CLIP and SigLIP use it."""

    image_size: int  # side of the square input, pixels; NaFlex: side that the position grid stands for
    patch_size: int  # side of a patch, pixels
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation
    pool: Literal["cls", "map", "mean"]  # CLIP: class token; SigLIP: attention pooling with one probe
    class_token: bool  # CLIP: yes
    pre_norm: bool  # CLIP: layer norm between the embedding and the blocks
    patch_bias: bool  # SigLIP: yes
    norm_eps: float  # CLIP 1e-5, SigLIP 1e-6
    projection: bool  # CLIP: linear map without bias into the shared space; SigLIP: none
    naflex: bool = False  # SigLIP 2 NaFlex: any aspect ratio, patches instead of a square picture

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def positions(self) -> int:
        """Rows of the position embedding: the class token, where there is one, then the patches."""
        return self.grid**2 + int(self.class_token)


@dataclass(frozen=True)
class ResNetSpec:
    """CLIP's ModifiedResNet: a three-convolution stem, average pooling before each stride, attention pooling."""

    image_size: int
    width: int  # channels after the stem; the last stage has 32 times as many
    layers: tuple[int, int, int, int]  # bottleneck blocks of the four stages
    heads: int  # of the attention pooling

    @property
    def grid(self) -> int:
        """Cells along one side of the last feature map."""
        return self.image_size // 32

    @property
    def features(self) -> int:
        """Channels of the last feature map."""
        return self.width * 32


@dataclass(frozen=True)
class TextSpec:
    """A text transformer: CLIP's (causal, pooled at end of text) or SigLIP's (no mask, pooled at the last token)."""

    vocabulary: int
    context_length: int  # tokens, the longest text
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation
    causal: bool
    pool: Literal["eos", "last"]  # at the first end-of-text token, or at the last of context_length positions
    norm_eps: float
    projection_bias: bool  # SigLIP: yes
    eos_token: int  # id at which "eos" pools
    pad_token: int


@dataclass(frozen=True)
class DualSpec:
    """Two towers and one shared space. One dual model serves CLIP and SigLIP.

    `score` is how logits become probabilities: "softmax" over the texts (CLIP) or a
    "sigmoid" per pair (SigLIP, which also learns a `logit_bias`).

    Raises:
        CheckpointError: the numbers do not fit together.
    """

    image: VitSpec | ResNetSpec
    text: TextSpec
    dimension: int  # of the shared space
    score: Literal["softmax", "sigmoid"]

    def __post_init__(self) -> None:
        """Refuse what cannot be a model, with all problems in one error, before any weights are read."""
        if problems := _problems(self):
            raise CheckpointError(f"the model's configuration makes no sense: {'; '.join(problems)}")

    @property
    def logit_bias(self) -> bool:
        """Whether the model has a learned bias beside the scale."""
        return self.score == "sigmoid"


def _problems(spec: DualSpec) -> list[str]:
    image, text = spec.image, spec.text
    sizes = {f"image.{name}": value for name, value in vars(image).items()}
    sizes |= {f"text.{name}": value for name, value in vars(text).items()}
    sizes["dimension"] = spec.dimension
    ids = ("text.eos_token", "text.pad_token")  # the only numbers that may be 0
    if wrong := [
        f"{name} is {size}" for name, size in sizes.items() if type(size) is int and size < 1 and name not in ids
    ]:
        return wrong
    width = image.features if isinstance(image, ResNetSpec) else image.width
    rules = [
        (width % image.heads != 0, f"{image.heads} heads do not divide the picture tower's width {width}"),
        (text.width % text.heads != 0, f"{text.heads} heads do not divide the text tower's width {text.width}"),
        (image.grid < 1, f"pictures of {image.image_size} pixels are too small for this picture tower"),
    ]
    if isinstance(image, VitSpec):
        rules += [
            (image.pool == "cls" and not image.class_token, "the picture tower pools a class token that it has not"),
            (image.naflex and image.class_token, "a NaFlex tower has no class token"),
            (
                not image.projection and image.width != spec.dimension,
                f"without a projection the picture tower's width {image.width} must be the dimension {spec.dimension}",
            ),
        ]
    return [problem for broken, problem in rules if broken]


def weight_shapes(spec: DualSpec) -> dict[str, Shape]:
    """Name and shape of every array that the model needs, in reading order.

    All loaders turn the names of other layouts into these; `modules/` uses them as its state
    dict and `graphs/` as its initializers. Linear weights are [out, in]; attention's query,
    key and value are fused as one [3w, w]; `logit_scale` is the logarithm, as in CLIP.
    """
    image = _vit(spec.image, spec.dimension) if isinstance(spec.image, VitSpec) else _resnet(spec.image, spec.dimension)
    shapes = {f"image.{name}": shape for name, shape in image.items()}
    shapes |= {f"text.{name}": shape for name, shape in _text(spec.text, spec.dimension).items()}
    shapes["logit_scale"] = ()
    if spec.logit_bias:
        shapes["logit_bias"] = ()
    return shapes


def _vit(spec: VitSpec, dimension: int) -> dict[str, Shape]:
    w, p = spec.width, spec.patch_size
    shapes: dict[str, Shape] = {"patch_embedding.weight": (w, 3, p, p)}
    if spec.patch_bias:
        shapes["patch_embedding.bias"] = (w,)
    if spec.class_token:
        shapes["class_embedding"] = (w,)
    shapes["position_embedding"] = (spec.positions, w)
    if spec.pre_norm:
        shapes |= _norm("pre_norm", w)
    shapes |= _blocks(spec.layers, w, spec.mlp_width)
    shapes |= _norm("norm", w)
    if spec.pool == "map":
        shapes["pool.probe"] = (w,)
        shapes |= _attention("pool.attention", w)
        shapes |= _norm("pool.norm", w)
        shapes |= _mlp("pool.mlp", w, spec.mlp_width)
    if spec.projection:
        shapes["projection.weight"] = (dimension, w)
    return shapes


def _text(spec: TextSpec, dimension: int) -> dict[str, Shape]:
    w = spec.width
    shapes: dict[str, Shape] = {
        "token_embedding.weight": (spec.vocabulary, w),
        "position_embedding": (spec.context_length, w),
    }
    shapes |= _blocks(spec.layers, w, spec.mlp_width)
    shapes |= _norm("norm", w)
    shapes["projection.weight"] = (dimension, w)
    if spec.projection_bias:
        shapes["projection.bias"] = (dimension,)
    return shapes


def _blocks(layers: int, width: int, mlp_width: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for i in range(layers):
        shapes |= _norm(f"blocks.{i}.norm1", width)
        shapes |= _attention(f"blocks.{i}.attention", width)
        shapes |= _norm(f"blocks.{i}.norm2", width)
        shapes |= _mlp(f"blocks.{i}.mlp", width, mlp_width)
    return shapes


def _attention(name: str, width: int) -> dict[str, Shape]:
    return {
        f"{name}.qkv.weight": (3 * width, width),
        f"{name}.qkv.bias": (3 * width,),
        f"{name}.out.weight": (width, width),
        f"{name}.out.bias": (width,),
    }


def _mlp(name: str, width: int, mlp_width: int) -> dict[str, Shape]:
    return {
        f"{name}.up.weight": (mlp_width, width),
        f"{name}.up.bias": (mlp_width,),
        f"{name}.down.weight": (width, mlp_width),
        f"{name}.down.bias": (width,),
    }


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _resnet(spec: ResNetSpec, dimension: int) -> dict[str, Shape]:
    half = spec.width // 2
    shapes: dict[str, Shape] = {}
    for i, (inputs, outputs) in enumerate([(3, half), (half, half), (half, spec.width)], start=1):
        shapes |= _convolution(f"stem.conv{i}", outputs, inputs, 3) | _batch_norm(f"stem.norm{i}", outputs)
    inputs = spec.width
    for stage, depth in enumerate(spec.layers):
        planes = spec.width * 2**stage
        for block in range(depth):
            name = f"stages.{stage}.{block}"
            shapes |= _convolution(f"{name}.conv1", planes, inputs, 1) | _batch_norm(f"{name}.norm1", planes)
            shapes |= _convolution(f"{name}.conv2", planes, planes, 3) | _batch_norm(f"{name}.norm2", planes)
            shapes |= _convolution(f"{name}.conv3", planes * 4, planes, 1) | _batch_norm(f"{name}.norm3", planes * 4)
            if block == 0:  # the shortcut changes its width (and, past the first stage, its size)
                shapes |= _convolution(f"{name}.shortcut.conv", planes * 4, inputs, 1)
                shapes |= _batch_norm(f"{name}.shortcut.norm", planes * 4)
            inputs = planes * 4
    shapes["pool.position_embedding"] = (spec.grid**2 + 1, spec.features)
    for part in ("query", "key", "value"):
        shapes[f"pool.{part}.weight"] = (spec.features, spec.features)
        shapes[f"pool.{part}.bias"] = (spec.features,)
    shapes["pool.out.weight"] = (dimension, spec.features)
    shapes["pool.out.bias"] = (dimension,)
    return shapes


def _convolution(name: str, outputs: int, inputs: int, side: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs, side, side)}


def _batch_norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
