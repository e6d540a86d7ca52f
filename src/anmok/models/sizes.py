"""The sizes that papers published, by open_clip's names, and small ones for laptops: one table, `SIZES`.

Sources: CLIP (Radford et al. 2021, arXiv 2103.00020, tables 19 and 20); OpenCLIP's H/14 (Cherti et
al. 2022, arXiv 2212.07143); SigLIP (Zhai et al. 2023, arXiv 2303.15343, with the shape-optimized
So400m of Alabdulmohsin et al. 2023, arXiv 2305.13035); SigLIP 2 (Tschannen et al. 2025, arXiv
2502.14786, appendix). The small sizes are scaled down from the papers named in `plan.py` and `spec.py`.

A loaded checkpoint brings its own spec; this table is for training from scratch, for tests and
for reading. "quickgelu" marks OpenAI's own activation; without it, the exact GELU of open_clip.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from anmok.models.spec import BagSpec, CnnSpec, DualSpec, HybridSpec, ResNetSpec, TextSpec, VitSpec

if TYPE_CHECKING:
    from anmok.models.spec import Activation, Architecture

__all__ = ["SIZES"]


def _clip_text(width: int, activation: Activation, layers: int = 12) -> TextSpec:
    return TextSpec(
        vocabulary=49408,
        context_length=77,
        width=width,
        layers=layers,
        heads=width // 64,
        mlp_width=4 * width,
        activation=activation,
        causal=True,
        pool="eos",
        norm_eps=1e-5,
        projection_bias=False,
        eos_token=49407,
        pad_token=0,
    )


def _clip(  # ViT: picture side, patch side, width, layers
    image: tuple[int, int, int, int], dimension: int, text_width: int, activation: Activation, **deeper: int
) -> DualSpec:
    size, patch, width, layers = image
    vit = VitSpec(
        image_size=size,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=deeper.get("heads", width // 64),
        mlp_width=4 * width,
        activation=activation,
        pool="cls",
        class_token=True,
        pre_norm=True,
        patch_bias=False,
        norm_eps=1e-5,
        projection=True,
    )
    return DualSpec(vit, _clip_text(text_width, activation, deeper.get("text_layers", 12)), dimension, "softmax")


def _clip_resnet(  # width and picture side, blocks of the four stages
    width: int, size: int, layers: tuple[int, int, int, int], dimension: int, text_width: int
) -> DualSpec:
    resnet = ResNetSpec(image_size=size, width=width, layers=layers, heads=width * 32 // 64)
    return DualSpec(resnet, _clip_text(text_width, "quick_gelu"), dimension, "softmax")


# Width, layers, heads and MLP width of both towers of SigLIP, named as in the papers.
_B = (768, 12, 12, 3072)
_L = (1024, 24, 16, 4096)
_SO400M = (1152, 27, 16, 4304)
_G_OPT = (1536, 40, 16, 6144)


def _siglip(
    image: tuple[int, int],  # picture side, patch side
    tower: tuple[int, int, int, int],
    vocabulary: int,
    *,
    text: tuple[int, int, int, int] | None = None,  # where it is another one
    context_length: int = 64,
    naflex: bool = False,
) -> DualSpec:
    size, patch = image
    width, layers, heads, mlp_width = tower
    vit = VitSpec(
        image_size=size,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=mlp_width,
        activation="gelu_tanh",
        pool="map",
        class_token=False,
        pre_norm=False,
        patch_bias=True,
        norm_eps=1e-6,
        projection=False,
        naflex=naflex,
    )
    text_width, text_layers, text_heads, text_mlp_width = text or tower
    words = TextSpec(
        vocabulary=vocabulary,
        context_length=context_length,
        width=text_width,
        layers=text_layers,
        heads=text_heads,
        mlp_width=text_mlp_width,
        activation="gelu_tanh",
        causal=False,
        pool="last",
        norm_eps=1e-6,
        projection_bias=True,
        eos_token=1,
        pad_token=0 if vocabulary == _GEMMA else 1,
    )
    return DualSpec(vit, words, width, "sigmoid")


# Texts of the small sizes. The vocabulary is that of the tokenizer, which training puts in its place.
_VOCABULARY, _CONTEXT, _TINY_DIMENSION = 8192, 32, 256
_TINY_TEXT = TextSpec(
    vocabulary=_VOCABULARY,
    context_length=_CONTEXT,
    width=256,
    layers=3,
    heads=4,
    mlp_width=1024,
    activation="gelu",
    causal=True,
    pool="eos",
    norm_eps=1e-5,
    projection_bias=False,
    eos_token=_VOCABULARY - 1,
    pad_token=0,
)
_TINY_BAG = BagSpec(
    vocabulary=_VOCABULARY,
    context_length=_CONTEXT,
    width=256,
    norm_eps=1e-5,
    start_of_text=True,
    eos_token=_VOCABULARY - 1,
    pad_token=0,
)
_TINY_RESNET = ResNetSpec(image_size=96, width=24, layers=(2, 2, 4, 2), heads=12)
_TINY_HYBRID = HybridSpec(
    image_size=64,
    stem=(24, 48, 96),
    width=192,
    layers=6,
    heads=3,
    mlp_width=768,
    activation="gelu",
    pool="mean",
    norm_eps=1e-5,
)


def _tiny_cnn(architecture: Architecture, size: int, layers: tuple[int, ...], width: float = 1.0) -> DualSpec:
    return DualSpec(CnnSpec(architecture, size, layers, width), _TINY_TEXT, _TINY_DIMENSION, "softmax")


# Vocabularies of SigLIP's tokenizers: C4 (English), mT5 (multilingual), Gemma (SigLIP 2, multilingual).
_C4, _MT5, _GEMMA = 32_000, 250_000, 256_000

SIZES: dict[str, DualSpec] = {
    # CLIP, ViT: table 20 of the paper
    "ViT-B-32-quickgelu": _clip((224, 32, 768, 12), 512, 512, "quick_gelu"),
    "ViT-B-16-quickgelu": _clip((224, 16, 768, 12), 512, 512, "quick_gelu"),
    "ViT-L-14-quickgelu": _clip((224, 14, 1024, 24), 768, 768, "quick_gelu"),
    "ViT-L-14-336-quickgelu": _clip((336, 14, 1024, 24), 768, 768, "quick_gelu"),
    # the same sizes as open_clip trained them on LAION
    "ViT-B-32": _clip((224, 32, 768, 12), 512, 512, "gelu"),
    "ViT-B-16": _clip((224, 16, 768, 12), 512, 512, "gelu"),
    "ViT-L-14": _clip((224, 14, 1024, 24), 768, 768, "gelu"),
    "ViT-L-14-336": _clip((336, 14, 1024, 24), 768, 768, "gelu"),
    "ViT-H-14": _clip((224, 14, 1280, 32), 1024, 1024, "gelu", heads=16, text_layers=24),
    # CLIP, ResNet: table 19 of the paper
    "RN50-quickgelu": _clip_resnet(64, 224, (3, 4, 6, 3), 1024, 512),
    "RN101-quickgelu": _clip_resnet(64, 224, (3, 4, 23, 3), 512, 512),
    "RN50x4-quickgelu": _clip_resnet(80, 288, (4, 6, 10, 6), 640, 640),
    "RN50x16-quickgelu": _clip_resnet(96, 384, (6, 8, 18, 8), 768, 768),
    "RN50x64-quickgelu": _clip_resnet(128, 448, (3, 15, 36, 10), 1024, 1024),
    # SigLIP
    "ViT-B-16-SigLIP": _siglip((224, 16), _B, _C4),
    "ViT-B-16-SigLIP-256": _siglip((256, 16), _B, _C4),
    "ViT-B-16-SigLIP-384": _siglip((384, 16), _B, _C4),
    "ViT-B-16-SigLIP-512": _siglip((512, 16), _B, _C4),
    "ViT-B-16-SigLIP-i18n-256": _siglip((256, 16), _B, _MT5),
    "ViT-L-16-SigLIP-256": _siglip((256, 16), _L, _C4),
    "ViT-L-16-SigLIP-384": _siglip((384, 16), _L, _C4),
    "ViT-SO400M-14-SigLIP": _siglip((224, 14), _SO400M, _C4, context_length=16),
    "ViT-SO400M-14-SigLIP-384": _siglip((384, 14), _SO400M, _C4),
    # SigLIP 2, fixed resolution
    "ViT-B-32-SigLIP2-256": _siglip((256, 32), _B, _GEMMA),
    "ViT-B-16-SigLIP2": _siglip((224, 16), _B, _GEMMA),
    "ViT-B-16-SigLIP2-256": _siglip((256, 16), _B, _GEMMA),
    "ViT-B-16-SigLIP2-384": _siglip((384, 16), _B, _GEMMA),
    "ViT-B-16-SigLIP2-512": _siglip((512, 16), _B, _GEMMA),
    "ViT-L-16-SigLIP2-256": _siglip((256, 16), _L, _GEMMA),
    "ViT-L-16-SigLIP2-384": _siglip((384, 16), _L, _GEMMA),
    "ViT-L-16-SigLIP2-512": _siglip((512, 16), _L, _GEMMA),
    "ViT-SO400M-14-SigLIP2": _siglip((224, 14), _SO400M, _GEMMA),
    "ViT-SO400M-14-SigLIP2-378": _siglip((378, 14), _SO400M, _GEMMA),
    "ViT-SO400M-16-SigLIP2-256": _siglip((256, 16), _SO400M, _GEMMA),
    "ViT-SO400M-16-SigLIP2-384": _siglip((384, 16), _SO400M, _GEMMA),
    "ViT-SO400M-16-SigLIP2-512": _siglip((512, 16), _SO400M, _GEMMA),
    "ViT-gopt-16-SigLIP2-256": _siglip((256, 16), _G_OPT, _GEMMA, text=_SO400M),
    "ViT-gopt-16-SigLIP2-384": _siglip((384, 16), _G_OPT, _GEMMA, text=_SO400M),
    # SigLIP 2 NaFlex: up to 256 patches of any aspect ratio (more at run time), positions of a 16x16 grid
    "ViT-B-16-SigLIP2-NaFlex": _siglip((256, 16), _B, _GEMMA, naflex=True),
    "ViT-SO400M-16-SigLIP2-NaFlex": _siglip((256, 16), _SO400M, _GEMMA, naflex=True),
    # Small ones, for training on two processor cores: million parameters of the picture tower, million
    # multiplications for a picture, and what it is scaled down from
    "tiny-vit": replace(_clip((64, 8, 192, 6), _TINY_DIMENSION, 64, "gelu"), text=_TINY_TEXT),  # 2.8, 185: ViT-Ti
    "tiny-hybrid": DualSpec(_TINY_HYBRID, _TINY_TEXT, _TINY_DIMENSION, "softmax"),  # 2.8, 187: Xiao et al. 2021
    "tiny-resnet": DualSpec(
        _TINY_RESNET, _TINY_TEXT, _TINY_DIMENSION, "softmax"
    ),  # 4.3, 118: CLIP's RN50, as anmok-mini
    "tiny-resnet-bag": DualSpec(_TINY_RESNET, _TINY_BAG, _TINY_DIMENSION, "softmax"),  # the same with a bag of words
    "tiny-resnet18": _tiny_cnn("resnet", 96, (2, 2, 2, 2), 0.625),  # 4.5, 135: He et al. 2015
    "tiny-efficientnet": _tiny_cnn("efficientnet", 96, (1, 2, 2, 3, 3, 4, 1)),  # 4.3, 71: B0, Tan and Le 2019
    "tiny-vgg": _tiny_cnn("vgg", 64, (1, 1, 2, 2, 2), 0.5),  # 2.4, 155: VGG-11, Simonyan and Zisserman 2014
    "tiny-alexnet": _tiny_cnn("alexnet", 96, (1, 1, 3)),  # 2.5, 103: Krizhevsky 2014
}
