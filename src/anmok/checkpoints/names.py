"""Names of checkpoints: what is built in, and open_clip's `ARCHITECTURE/TAG` → hub repository.

Source of the table: open_clip 3.3 `pretrained.py`, the architectures that anmok can run.
"""

from __future__ import annotations

from pathlib import Path

from anmok.errors import CheckpointError, did_you_mean

__all__ = ["BUILT_IN", "OPEN_CLIP", "built_in_folder", "open_clip_repository"]

BUILT_IN = ("anmok-mini",)

_LAION = "laion/CLIP-ViT"
OPEN_CLIP: dict[str, dict[str, str]] = {
    "RN50": {
        "openai": "timm/resnet50_clip.openai",
        "yfcc15m": "timm/resnet50_clip.yfcc15m",
        "cc12m": "timm/resnet50_clip.cc12m",
    },
    "RN101": {"openai": "timm/resnet101_clip.openai", "yfcc15m": "timm/resnet101_clip.yfcc15m"},
    "RN50x4": {"openai": "timm/resnet50x4_clip.openai"},
    "RN50x16": {"openai": "timm/resnet50x16_clip.openai"},
    "RN50x64": {"openai": "timm/resnet50x64_clip.openai"},
    "ViT-B-32": {
        "openai": "timm/vit_base_patch32_clip_224.openai",
        "laion400m_e31": "timm/vit_base_patch32_clip_224.laion400m_e31",
        "laion400m_e32": "timm/vit_base_patch32_clip_224.laion400m_e32",
        "laion2b_e16": "timm/vit_base_patch32_clip_224.laion2b_e16",
        "laion2b_s34b_b79k": f"{_LAION}-B-32-laion2B-s34B-b79K",
        "datacomp_xl_s13b_b90k": f"{_LAION}-B-32-DataComp.XL-s13B-b90K",
        "datacomp_m_s128m_b4k": f"{_LAION}-B-32-DataComp.M-s128M-b4K",
        "datacomp_s_s13m_b4k": f"{_LAION}-B-32-DataComp.S-s13M-b4K",
        "metaclip_400m": "timm/vit_base_patch32_clip_224.metaclip_400m",
        "metaclip_fullcc": "timm/vit_base_patch32_clip_224.metaclip_2pt5b",
    },
    "ViT-B-32-256": {"datacomp_s34b_b86k": f"{_LAION}-B-32-256x256-DataComp-s34B-b86K"},
    "ViT-B-16": {
        "openai": "timm/vit_base_patch16_clip_224.openai",
        "laion400m_e31": "timm/vit_base_patch16_clip_224.laion400m_e31",
        "laion400m_e32": "timm/vit_base_patch16_clip_224.laion400m_e32",
        "laion2b_s34b_b88k": f"{_LAION}-B-16-laion2B-s34B-b88K",
        "datacomp_xl_s13b_b90k": f"{_LAION}-B-16-DataComp.XL-s13B-b90K",
        "datacomp_l_s1b_b8k": f"{_LAION}-B-16-DataComp.L-s1B-b8K",
        "dfn2b": "apple/DFN2B-CLIP-ViT-B-16",
        "metaclip_400m": "timm/vit_base_patch16_clip_224.metaclip_400m",
        "metaclip_fullcc": "timm/vit_base_patch16_clip_224.metaclip_2pt5b",
    },
    "ViT-B-16-plus-240": {"laion400m_e31": "timm/vit_base_patch16_plus_clip_240.laion400m_e31"},
    "ViT-L-14": {
        "openai": "timm/vit_large_patch14_clip_224.openai",
        "laion400m_e31": "timm/vit_large_patch14_clip_224.laion400m_e31",
        "laion400m_e32": "timm/vit_large_patch14_clip_224.laion400m_e32",
        "laion2b_s32b_b82k": f"{_LAION}-L-14-laion2B-s32B-b82K",
        "datacomp_xl_s13b_b90k": f"{_LAION}-L-14-DataComp.XL-s13B-b90K",
        "dfn2b": "apple/DFN2B-CLIP-ViT-L-14",
        "dfn2b_s39b": "apple/DFN2B-CLIP-ViT-L-14-39B",
        "metaclip_400m": "timm/vit_large_patch14_clip_224.metaclip_400m",
        "metaclip_fullcc": "timm/vit_large_patch14_clip_224.metaclip_2pt5b",
    },
    "ViT-L-14-336": {"openai": "timm/vit_large_patch14_clip_336.openai"},
    "ViT-H-14": {
        "laion2b_s32b_b79k": f"{_LAION}-H-14-laion2B-s32B-b79K",
        "dfn5b": "apple/DFN5B-CLIP-ViT-H-14",
        "metaclip_fullcc": "timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
        "metaclip_altogether": "timm/vit_huge_patch14_clip_224.metaclip_altogether",
    },
    "ViT-H-14-378": {"dfn5b": "apple/DFN5B-CLIP-ViT-H-14-378"},
    "ViT-g-14": {
        "laion2b_s12b_b42k": f"{_LAION}-g-14-laion2B-s12B-b42K",
        "laion2b_s34b_b88k": f"{_LAION}-g-14-laion2B-s34B-b88K",
    },
    "ViT-bigG-14": {
        "laion2b_s39b_b160k": f"{_LAION}-bigG-14-laion2B-39B-b160k",
        "metaclip_fullcc": "timm/vit_gigantic_patch14_clip_224.metaclip_2pt5b",
    },
    # SigLIP and SigLIP 2: timm has each under the name of its architecture
    "ViT-B-16-SigLIP": {"webli": "timm/ViT-B-16-SigLIP"},
    "ViT-B-16-SigLIP-256": {"webli": "timm/ViT-B-16-SigLIP-256"},
    "ViT-B-16-SigLIP-i18n-256": {"webli": "timm/ViT-B-16-SigLIP-i18n-256"},
    "ViT-B-16-SigLIP-384": {"webli": "timm/ViT-B-16-SigLIP-384"},
    "ViT-B-16-SigLIP-512": {"webli": "timm/ViT-B-16-SigLIP-512"},
    "ViT-L-16-SigLIP-256": {"webli": "timm/ViT-L-16-SigLIP-256"},
    "ViT-L-16-SigLIP-384": {"webli": "timm/ViT-L-16-SigLIP-384"},
    "ViT-SO400M-14-SigLIP": {"webli": "timm/ViT-SO400M-14-SigLIP"},
    "ViT-SO400M-14-SigLIP-384": {"webli": "timm/ViT-SO400M-14-SigLIP-384"},
    "ViT-SO400M-16-SigLIP-i18n-256": {"webli": "timm/ViT-SO400M-16-SigLIP-i18n-256"},
    "ViT-B-32-SigLIP2-256": {"webli": "timm/ViT-B-32-SigLIP2-256"},
    "ViT-B-16-SigLIP2": {"webli": "timm/ViT-B-16-SigLIP2"},
    "ViT-B-16-SigLIP2-256": {"webli": "timm/ViT-B-16-SigLIP2-256"},
    "ViT-B-16-SigLIP2-384": {"webli": "timm/ViT-B-16-SigLIP2-384"},
    "ViT-B-16-SigLIP2-512": {"webli": "timm/ViT-B-16-SigLIP2-512"},
    "ViT-L-16-SigLIP2-256": {"webli": "timm/ViT-L-16-SigLIP2-256"},
    "ViT-L-16-SigLIP2-384": {"webli": "timm/ViT-L-16-SigLIP2-384"},
    "ViT-L-16-SigLIP2-512": {"webli": "timm/ViT-L-16-SigLIP2-512"},
    "ViT-SO400M-14-SigLIP2": {"webli": "timm/ViT-SO400M-14-SigLIP2"},
    "ViT-SO400M-14-SigLIP2-378": {"webli": "timm/ViT-SO400M-14-SigLIP2-378"},
    "ViT-SO400M-16-SigLIP2-256": {"webli": "timm/ViT-SO400M-16-SigLIP2-256"},
    "ViT-SO400M-16-SigLIP2-384": {"webli": "timm/ViT-SO400M-16-SigLIP2-384"},
    "ViT-SO400M-16-SigLIP2-512": {"webli": "timm/ViT-SO400M-16-SigLIP2-512"},
    "ViT-gopt-16-SigLIP2-256": {"webli": "timm/ViT-gopt-16-SigLIP2-256"},
    "ViT-gopt-16-SigLIP2-384": {"webli": "timm/ViT-gopt-16-SigLIP2-384"},
}


def built_in_folder(name: str) -> Path:
    """Where a built-in checkpoint lies inside the package."""
    return Path(__file__).parent.parent / "data" / name


def open_clip_repository(name: str) -> str | None:
    """The hub repository of open_clip's `ARCHITECTURE/TAG`; None where it is not such a name.

    Spelling is as in open_clip: tags in either case and with `-` or `_`, architectures with
    `-quickgelu` where open_clip has one (the activation is in the repository's config).

    Raises:
        CheckpointError: the architecture is known and the tag is not; lists its tags.
    """
    architecture, slash, tag = name.partition("/")
    tags = OPEN_CLIP.get(architecture.removesuffix("-quickgelu"))
    if not slash or tags is None:
        return None
    tag = tag.lower().replace("-", "_")
    if tag not in tags:
        raise CheckpointError(
            f"{architecture} has no weights {tag!r}; there are {', '.join(tags)}.{did_you_mean(tag, tags)}"
        )
    return tags[tag]
