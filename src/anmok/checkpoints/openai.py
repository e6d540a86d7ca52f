"""OpenAI's original state dict: no config, every size is read off the shapes of the arrays.

Tokenizer, transform and activation are fixed by the layout: CLIP's byte-pair encoding,
resize to the shorter side and center crop, QuickGELU.

Source: openai/CLIP `clip/model.py`, `build_model`; `clip/clip.py`, `_transform`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anmok.checkpoints.config import make_spec
from anmok.errors import CheckpointError
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec, VitSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MEAN", "STD", "is_openai", "spec_of"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
EOS_TOKEN = 49407
HEAD_WIDTH = 64  # in every tower

Shape = tuple[int, ...]


def is_openai(shapes: Mapping[str, Shape]) -> bool:
    """Whether names and shapes look like OpenAI's state dict."""
    visual = "visual.proj" in shapes or "visual.attnpool.c_proj.weight" in shapes
    return visual and "text_projection" in shapes and "token_embedding.weight" in shapes


def spec_of(shapes: Mapping[str, Shape], file: Path) -> DualSpec:
    """The spec that these shapes belong to.

    Raises:
        CheckpointError: the shapes contradict each other.
    """
    try:
        width, dimension = shapes["text_projection"]
        image = _vit(shapes) if "visual.proj" in shapes else _resnet(shapes)
        text = TextSpec(
            vocabulary=shapes["token_embedding.weight"][0],
            context_length=shapes["positional_embedding"][0],
            width=width,
            layers=_count(shapes, r"transformer\.resblocks\.(\d+)\."),
            heads=max(1, width // HEAD_WIDTH),
            mlp_width=shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
            activation="quick_gelu",
            causal=True,
            pool="eos",
            norm_eps=1e-5,
            projection_bias=False,
            eos_token=EOS_TOKEN,
            pad_token=0,
        )
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{file} looks like OpenAI's state dict, but its arrays do not make a CLIP ({error!r}): is it cut?"
        ) from error
    return make_spec(file, image=image, text=text, dimension=dimension, score="softmax")


def _vit(shapes: Mapping[str, Shape]) -> VitSpec:
    width, _, _, patch = shapes["visual.conv1.weight"]
    grid = round((shapes["visual.positional_embedding"][0] - 1) ** 0.5)
    return VitSpec(
        image_size=patch * grid,
        patch_size=patch,
        width=width,
        layers=_count(shapes, r"visual\.transformer\.resblocks\.(\d+)\."),
        heads=max(1, width // HEAD_WIDTH),
        mlp_width=shapes["visual.transformer.resblocks.0.mlp.c_fc.weight"][0],
        activation="quick_gelu",
        pool="cls",
        class_token=True,
        pre_norm=True,
        patch_bias=False,
        norm_eps=1e-5,
        projection=True,
    )


def _resnet(shapes: Mapping[str, Shape]) -> ResNetSpec:
    width = shapes["visual.layer1.0.conv1.weight"][0]
    grid = round((shapes["visual.attnpool.positional_embedding"][0] - 1) ** 0.5)
    depths = [_count(shapes, rf"visual\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
    return ResNetSpec(
        image_size=grid * 32,
        width=width,
        layers=(depths[0], depths[1], depths[2], depths[3]),
        heads=max(1, width * 32 // HEAD_WIDTH),
    )


def _count(shapes: Mapping[str, Shape], pattern: str) -> int:
    count = len({match[1] for name in shapes if (match := re.match(pattern, name))})
    if not count:
        raise KeyError(pattern)
    return count
