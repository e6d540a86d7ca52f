"""What a model is, as data: the spec of each tower and of the dual model that joins them.

A spec and named arrays are the whole model. `modules/` runs them as PyTorch modules,
`graphs/` as an ONNX graph; the names of the arrays are the same in both, and
`weight_shapes` lists them. Shape letters used everywhere:

    n pictures or texts · l tokens · w width · d dimension of the shared space · h heads

Picture towers: `VitSpec`, `ResNetSpec` (both of CLIP), `CnnSpec` (ResNet, EfficientNet, VGG, AlexNet) and
`HybridSpec` (convolutions, then a transformer). Text towers: `TextSpec` and `BagSpec`.

Sources: CLIP (Radford et al. 2021, arXiv 2103.00020), SigLIP (Zhai et al. 2023, arXiv
2303.15343), SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786); those of the others stand with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Literal

from anmok.errors import CheckpointError
from anmok.models import shapes
from anmok.models.plan import plan_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.models.shapes import Shape

__all__ = [
    "Activation",
    "Architecture",
    "BagSpec",
    "CnnSpec",
    "DualSpec",
    "HybridSpec",
    "ImageSpec",
    "ResNetSpec",
    "TextSpec",
    "VitSpec",
    "WordsSpec",
    "weight_shapes",
]

Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]
Architecture = Literal["resnet", "efficientnet", "vgg", "alexnet"]


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
    def fits(self) -> bool:
        """Whether the stages leave `grid` cells of such a picture: the stem's stride rounds up, the others down."""
        return self.grid > 0 and (self.image_size + 1) // 2 // 16 == self.grid

    @property
    def features(self) -> int:
        """Channels of the last feature map."""
        return self.width * 32


@dataclass(frozen=True)
class CnnSpec:
    """A plain convolutional network: global average pooling, then a linear map into the shared space.

    `plan.py` says what each architecture is made of, and from where. `layers` counts the blocks of each
    stage (VGG, AlexNet: convolutions):

        resnet        (2, 2, 2, 2) for 18; (3, 4, 6, 3) for 34 and, with `bottleneck`, for 50; (3, 4, 23, 3) for 101
        efficientnet  (1, 2, 2, 3, 3, 4, 1) for B0, (2, 3, 3, 4, 4, 5, 2) for B1, …
        vgg           (1, 1, 2, 2, 2) for 11, (2, 2, 2, 2, 2) for 13, (2, 2, 3, 3, 3) for 16, (2, 2, 4, 4, 4) for 19
        alexnet       (1, 1, 3)
    """

    architecture: Architecture
    image_size: int
    layers: tuple[int, ...]
    width: float = 1.0  # times the published channels, in multiples of 8
    bottleneck: bool = False  # ResNet: 1x1, 3x3, 1x1 in place of two 3x3
    stem: Literal["large", "small"] = "large"  # small: shrinks nothing, for pictures of 32 to 64 pixels

    def __post_init__(self) -> None:
        """Equal specs are written alike, and so have the same fingerprint: a width of 1 is 1.0."""
        object.__setattr__(self, "width", float(self.width))


@dataclass(frozen=True)
class HybridSpec:
    """A vision transformer whose patch embedding is a few 3x3 convolutions of stride 2, for training on little data.

    Source: Early Convolutions Help Transformers See Better (Xiao et al. 2021, arXiv 2106.14881), section 4;
    on small data sets, Compact Transformers (Hassani et al. 2021, arXiv 2104.05704).
    """

    image_size: int  # side of the square input, pixels: a multiple of 2 to the number of convolutions
    stem: tuple[int, ...]  # channels of the convolutions; a 1x1 convolution to the width follows
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation
    pool: Literal["cls", "map", "mean"]  # with "cls" there is a class token
    norm_eps: float

    @property
    def vit(self) -> VitSpec:
        """The transformer after the stem, which stands in for its patch embedding."""
        return VitSpec(
            image_size=self.image_size,
            patch_size=2 ** len(self.stem),
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            mlp_width=self.mlp_width,
            activation=self.activation,
            pool=self.pool,
            class_token=self.pool == "cls",
            pre_norm=False,
            patch_bias=True,
            norm_eps=self.norm_eps,
            projection=True,
        )


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

    @property
    def trims(self) -> bool:
        """Whether texts may be cut to the longest of a batch with the same result.

        What is after the end of a text must not be seen: by a causal tower pooled there. SigLIP's was trained on
        full-length texts, padding included, and looks at all of it.
        """
        return self.causal and self.pool == "eos"


@dataclass(frozen=True)
class BagSpec:
    """A bag of words: the mean of the embeddings of a text's words, normalized, and a linear map.

    Source: CLIP, figure 3 ("text_encoder - CBOW or Text Transformer").
    """

    vocabulary: int
    context_length: int  # tokens, the longest text
    width: int
    norm_eps: float
    start_of_text: bool  # whether texts begin with a start-of-text token, which is no word
    eos_token: int  # id that ends a text
    pad_token: int

    @property
    def trims(self) -> bool:
        """Whether texts may be cut to the longest of a batch with the same result."""
        return True


ImageSpec = VitSpec | ResNetSpec | CnnSpec | HybridSpec
WordsSpec = TextSpec | BagSpec


@dataclass(frozen=True)
class DualSpec:
    """Two towers and one shared space. One dual model serves CLIP and SigLIP.

    `score` is how logits become probabilities: "softmax" over the texts (CLIP) or a
    "sigmoid" per pair (SigLIP, which also learns a `logit_bias`).

    Raises:
        CheckpointError: the numbers do not fit together.
    """

    image: ImageSpec
    text: WordsSpec
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


def weight_shapes(spec: DualSpec) -> dict[str, Shape]:
    """Name and shape of every array that the model needs, in reading order.

    All loaders turn the names of other layouts into these; `modules/` uses them as its state
    dict and `graphs/` as its initializers. Linear weights are [out, in]; attention's query,
    key and value are fused as one [3w, w]; `logit_scale` is the logarithm, as in CLIP.
    """
    named = {f"image.{name}": shape for name, shape in _image_shapes(spec.image, spec.dimension).items()}
    named |= {f"text.{name}": shape for name, shape in _text_shapes(spec.text, spec.dimension).items()}
    named["logit_scale"] = ()
    if spec.logit_bias:
        named["logit_bias"] = ()
    return named


def _image_shapes(image: ImageSpec, dimension: int) -> dict[str, Shape]:
    if isinstance(image, VitSpec):
        return shapes.vit(image, dimension)
    if isinstance(image, ResNetSpec):
        return shapes.resnet(image, dimension)
    if isinstance(image, CnnSpec):
        return shapes.cnn(image, dimension)
    return shapes.hybrid(image, dimension)


def _text_shapes(text: WordsSpec, dimension: int) -> dict[str, Shape]:
    return shapes.text(text, dimension) if isinstance(text, TextSpec) else shapes.bag(text, dimension)


def _problems(spec: DualSpec) -> list[str]:
    problems = [problem for name, value in _numbers(spec) if (problem := _number_problem(name, value))]
    if problems:  # the rules below compute with these numbers
        return problems
    image, text = spec.image, spec.text
    if isinstance(image, CnnSpec):
        problems += plan_problems(image)
    elif isinstance(image, ResNetSpec):
        problems += _attention_problems(image.features, image.heads, image.grid, image.image_size)
        if not image.fits:
            problems.append(f"pictures of {image.image_size} pixels do not fit a ResNet: take a multiple of 32")
    elif isinstance(image, HybridSpec):
        problems += _hybrid_problems(image)
    else:
        problems += _vit_problems(image, spec.dimension)
    if isinstance(text, TextSpec) and text.width % text.heads:
        problems.append(f"{text.heads} heads do not divide the text tower's width {text.width}")
    return problems


def _numbers(spec: object, name: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number of a spec with its place: "image.layers.2"."""
    parts = enumerate(spec) if isinstance(spec, tuple) else vars(spec).items()
    for key, value in parts:
        place = f"{name}.{key}" if name else str(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield place, value
        elif isinstance(value, tuple) or is_dataclass(value):
            yield from _numbers(value, place)


def _number_problem(name: str, value: float) -> str | None:
    if name in ("text.eos_token", "text.pad_token"):  # ids, the only numbers that may be 0
        return None if value >= 0 else f"{name} is {value}"
    return None if (value >= 1 if isinstance(value, int) else 0 < value < math.inf) else f"{name} is {value}"


def _attention_problems(width: int, heads: int, grid: int, image_size: int) -> list[str]:
    rules = [
        (width % heads != 0, f"{heads} heads do not divide the picture tower's width {width}"),
        (grid < 1, f"pictures of {image_size} pixels are too small for this picture tower"),
    ]
    return [problem for broken, problem in rules if broken]


def _vit_problems(image: VitSpec, dimension: int) -> list[str]:
    rules = [
        (image.pool == "cls" and not image.class_token, "the picture tower pools a class token that it has not"),
        (image.naflex and image.class_token, "a NaFlex tower has no class token"),
        (
            not image.projection and image.width != dimension,
            f"without a projection the picture tower's width {image.width} must be the dimension {dimension}",
        ),
    ]
    problems = _attention_problems(image.width, image.heads, image.grid, image.image_size)
    return problems + [problem for broken, problem in rules if broken]


def _hybrid_problems(image: HybridSpec) -> list[str]:
    if not image.stem:
        return ["the picture tower has no convolutions before it"]
    patch, size = image.vit.patch_size, image.image_size
    problems = _attention_problems(image.width, image.heads, image.vit.grid, size)
    if size % patch and size > patch:
        problems.append(f"pictures of {size} pixels are no whole number of patches of {patch}")
    return problems
