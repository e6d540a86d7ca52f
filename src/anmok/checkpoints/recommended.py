"""Recommended public checkpoints, as one literal table, and what their licenses allow.

Sources:
    parameters, GFLOPs: open_clip `docs/model_profile.csv` (commit 3b37473; image tower, one picture);
        parameters of SigLIP 2 counted from its spec
    ImageNet: open_clip `docs/openclip_results.csv` (commit 0a1cc15); SigLIP 2: big_vision
        `README_siglip2.md`
    XM3600: Crossmodal-3600, text → image recall@1, open_clip
        `docs/openclip_multilingual_retrieval_results.csv` (commit 100bcbd)
    licenses: the repositories' own cards
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["RECOMMENDED", "NonCommercialLicenseWarning", "Recommended", "Score", "is_non_commercial", "license_of"]

NON_COMMERCIAL = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research|amlr", re.IGNORECASE)


class NonCommercialLicenseWarning(UserWarning):
    """The license of a loaded checkpoint does not allow commercial use."""


@dataclass(frozen=True)
class Score:
    """One measured number: percent, in one language."""

    language: str
    measure: str
    value: float


@dataclass(frozen=True)
class Recommended:
    """One public checkpoint.

    `name`: what `anmok.load` takes. `source`: its hub repository. `parameters`: of both towers.
    `image_size`: side in pixels; of NaFlex, of a square picture. `gflops`: of the image tower for
    one picture, None where nobody has published it.
    """

    name: str
    source: str
    license: str
    commercial: bool
    parameters: int
    image_size: int
    dimension: int
    gflops: float | None
    scores: tuple[Score, ...]
    notes: str


def _imagenet(value: float) -> Score:
    return Score("en", "ImageNet top-1, zero-shot", value)


def _xm3600(language: str, value: float) -> Score:
    return Score(language, "XM3600 recall@1", value)


RECOMMENDED: tuple[Recommended, ...] = (
    Recommended(
        "ViT-B-32/openai", "timm/vit_base_patch32_clip_224.openai", "mit", True,
        151_277_313, 224, 512, 8.82, (_imagenet(63.3),),
        "The original CLIP. English only. Its model card calls deployment out of scope.",
    ),
    Recommended(
        "ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "mit", True,
        151_277_313, 224, 512, 8.82, (_imagenet(66.6),), "English only.",
    ),
    Recommended(
        "ViT-B-32/datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "mit", True,
        151_277_313, 224, 512, 8.82, (_imagenet(69.2),), "English only. The best of the cheapest size.",
    ),
    Recommended(
        "ViT-B-32-256/datacomp_s34b_b86k", "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", "mit", True,
        151_288_065, 256, 512, 11.5, (_imagenet(72.8),), "English only. A third more work for three points more.",
    ),
    Recommended(
        "ViT-B-16/openai", "timm/vit_base_patch16_clip_224.openai", "mit", True,
        149_620_737, 224, 512, 35.13, (_imagenet(68.3),),
        "English only. Its model card calls deployment out of scope.",
    ),
    Recommended(
        "ViT-B-16/datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", "mit", True,
        149_620_737, 224, 512, 35.13, (_imagenet(73.5),), "English only.",
    ),
    Recommended(
        "ViT-L-14/datacomp_xl_s13b_b90k", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", "mit", True,
        427_616_513, 224, 768, 162.03, (_imagenet(79.2),), "English only. Slow without a GPU.",
    ),
    Recommended(
        "ViT-B-16-SigLIP/webli", "timm/ViT-B-16-SigLIP", "apache-2.0", True,
        203_155_970, 224, 768, 35.42, (_imagenet(76.0), _xm3600("en", 51.5), _xm3600("ko", 0.1)),
        "English only: Korean is lost on it.",
    ),
    Recommended(
        "ViT-B-16-SigLIP-i18n-256/webli", "timm/ViT-B-16-SigLIP-i18n-256", "apache-2.0", True,
        370_626_050, 256, 768, 46.82, (_xm3600("en", 49.1), _xm3600("ko", 47.1)), "Many languages, Korean among them.",
    ),
    Recommended(
        "google/siglip2-base-patch32-256", "google/siglip2-base-patch32-256", "apache-2.0", True,
        376_856_066, 256, 768, None, (_imagenet(74.0),), "Many languages. The cheapest SigLIP 2.",
    ),
    Recommended(
        "google/siglip2-base-patch16-224", "google/siglip2-base-patch16-224", "apache-2.0", True,
        375_187_970, 224, 768, 35.42, (_imagenet(78.2),), "Many languages.",
    ),
    Recommended(
        "google/siglip2-base-patch16-naflex", "google/siglip2-base-patch16-naflex", "apache-2.0", True,
        375_234_050, 256, 768, 46.82, (), "Many languages. Keeps the aspect ratio: documents, screens, panoramas.",
    ),
    Recommended(
        "google/siglip2-so400m-patch14-384", "google/siglip2-so400m-patch14-384", "apache-2.0", True,
        1_136_008_498, 384, 1152, 670.35, (_imagenet(84.1),), "Many languages. For machines with a GPU.",
    ),
    Recommended(
        "ViT-B-16/dfn2b", "apple/DFN2B-CLIP-ViT-B-16", "apple-amlr", False,
        149_620_737, 224, 512, 35.13, (), "Research only.",
    ),
    Recommended(
        "ViT-B-32/metaclip_fullcc", "timm/vit_base_patch32_clip_224.metaclip_2pt5b", "cc-by-nc-4.0", False,
        151_277_313, 224, 512, 8.82, (), "Not for commercial use.",
    ),
)  # fmt: skip


def license_of(repository: str) -> str | None:
    """The license of a hub repository, where the table has it."""
    return next((model.license for model in RECOMMENDED if model.source == repository.partition("@")[0]), None)


def is_non_commercial(license_name: str | None) -> bool:
    """Whether a license's name says that commercial use is not allowed."""
    return license_name is not None and NON_COMMERCIAL.search(license_name) is not None
