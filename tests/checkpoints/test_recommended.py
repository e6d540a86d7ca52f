"""The tables: every row is whole, names resolve, and the numbers can be counted again."""

from __future__ import annotations

import math

import pytest

from anmok.checkpoints import RECOMMENDED
from anmok.checkpoints.hub import is_repository
from anmok.checkpoints.names import OPEN_CLIP, open_clip_repository
from anmok.checkpoints.recommended import is_non_commercial, license_of


@pytest.mark.parametrize("model", RECOMMENDED, ids=lambda model: model.name)
def test_row_is_whole(model):
    assert (open_clip_repository(model.name) or model.name) == model.source
    assert is_repository(model.source)
    assert model.commercial != is_non_commercial(model.license)
    assert license_of(model.source) == model.license
    assert model.notes
    assert all(score.language and score.measure and 0 <= score.value <= 100 for score in model.scores)


GOOGLE = {
    "google/siglip2-base-patch32-256": "ViT-B-32-SigLIP2-256",
    "google/siglip2-base-patch16-224": "ViT-B-16-SigLIP2",
    "google/siglip2-base-patch16-naflex": "ViT-B-16-SigLIP2-NaFlex",
    "google/siglip2-so400m-patch14-384": "ViT-SO400M-14-SigLIP2-378",  # the same grid, and so the same count
}


def test_parameters_are_counted_from_the_specs():
    from anmok.models.sizes import SIZES
    from anmok.models.spec import weight_shapes

    unknown = []
    for model in RECOMMENDED:
        spec = SIZES.get(GOOGLE.get(model.name, model.name.partition("/")[0]))
        if spec is None:
            unknown.append(model.name)
            continue
        assert spec.dimension == model.dimension
        assert sum(math.prod(shape) for shape in weight_shapes(spec).values()) == model.parameters, model.name
    assert unknown == ["ViT-B-32-256/datacomp_s34b_b86k"]


def test_every_open_clip_name_is_a_repository():
    for architecture, tags in OPEN_CLIP.items():
        for tag, repository in tags.items():
            assert is_repository(repository)
            assert open_clip_repository(f"{architecture}/{tag}") == repository


def test_table_of_names_agrees_with_open_clip(open_clip):
    from open_clip.pretrained import get_pretrained_cfg

    for architecture, tags in OPEN_CLIP.items():
        for tag, repository in tags.items():
            assert get_pretrained_cfg(architecture, tag)["hf_hub"].rstrip("/") == repository, f"{architecture}/{tag}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ViT-B-32/laion2B-s34B-b79K", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-B-32-quickgelu/openai", "timm/vit_base_patch32_clip_224.openai"),
        ("google/siglip2-base-patch16-224", None),
        ("ViT-B-32", None),
    ],
)
def test_open_clip_spelling_is_understood(name, expected):
    assert open_clip_repository(name) == expected


@pytest.mark.parametrize(
    ("license_name", "expected"),
    [("mit", False), ("apache-2.0", False), ("cc-by-nc-4.0", True), ("CC-BY-NC-SA-4.0", True), ("apple-amlr", True),
     ("cc-by-4.0", False), (None, False), ("fair-noncommercial-research-license", True)],
)  # fmt: skip
def test_non_commercial_licenses_are_known(license_name, expected):
    assert is_non_commercial(license_name) is expected
