"""The open_clip layout (`open_clip_config.json`): config ↔ spec. Names are in `open_clip_names.py`.

Covers CLIP's own vision transformer and ModifiedResNet, timm's SigLIP towers
(`visual.trunk.*`), and open_clip's text transformer, inside the model (CLIP) or as `text.*`
(CustomTextCLIP). Options that would change the numbers and are not supported are errors.

Source: open_clip 3.3 `model.py`, `transformer.py`, `timm_model.py`; timm 1.0 `vision_transformer.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from anmok.checkpoints.config import Section, make_spec
from anmok.checkpoints.open_clip_names import ignored, sources, to_open_clip
from anmok.errors import CheckpointError, did_you_mean
from anmok.models.spec import ResNetSpec, TextSpec, VitSpec

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.models.spec import Activation, DualSpec
    from anmok.texts import Tokenizer

__all__ = ["config_of", "ignored", "saves", "sources", "spec_of", "text_section", "to_open_clip", "trims"]

VISION = {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224}
TEXT = {
    "context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4.0,
    "pad_id": 0, "eos_id": 2, "pool_type": "argmax",
}  # fmt: skip
TIMM_NAME = re.compile(r"vit_(?P<size>[a-z0-9]+)_patch(?P<patch>\d+)_siglip_(?P<image>\d+)(\..*)?")
TIMM_SIZES: dict[str, tuple[int, int, int, float, Activation]] = {  # width, layers, heads, MLP ratio, activation
    "base": (768, 12, 12, 4.0, "gelu"),
    "large": (1024, 24, 16, 4.0, "gelu"),
    "so400m": (1152, 27, 16, 3.7362, "gelu"),
    "giantopt": (1536, 40, 16, 4.0, "gelu_tanh"),
}
# Options that do nothing to the numbers, or nothing beyond training.
HARMLESS = {
    "patch_dropout", "output_tokens", "timm_model_pretrained", "timm_drop", "timm_drop_path", "timm_proj_bias",
    "final_ln_after_pool", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "hf_model_pretrained",
    "attn_pooler_queries", "attn_pooler_heads", "hf_proj_type", "hf_pooler_type",
}  # fmt: skip
# Options that change the model, with the value at which they change nothing.
UNSUPPORTED = {
    "ls_init_value": None, "attentional_pool": False, "pos_embed_type": "learnable", "block_type": None,
    "qk_norm": False, "scaled_cosine_attn": False, "scale_heads": False, "scale_attn_inner": False,
    "scale_attn": False, "scale_fc": False, "embed_cls": False, "proj_type": "linear", "hf_model_name": None,
}  # fmt: skip


def spec_of(model: dict[str, Any], file: Path, tokenizer: Tokenizer) -> DualSpec:
    """The spec of a `model_cfg`; `tokenizer` gives the ids of end-of-text and padding.

    Raises:
        CheckpointError: options that anmok does not support, or values that cannot be used, all named.
    """
    problems: list[str] = []
    top = Section(file, model, {}, problems=problems)
    quick = bool(model.get("quick_gelu", False))
    dimension = top.size("embed_dim")
    vision = Section(file, model.get("vision_cfg"), VISION, name="vision_cfg", problems=problems)
    text = Section(file, model.get("text_cfg"), TEXT, name="text_cfg", problems=problems)
    image = _image(vision, model.get("vision_cfg"), quick, dimension)
    words = _text(text, model.get("text_cfg"), quick, tokenizer)
    if model.get("multimodal_cfg") is not None:
        problems.append("multimodal_cfg (CoCa's captioning decoder) is not supported yet")
    top.finish()
    score: Literal["softmax", "sigmoid"] = "softmax" if model.get("init_logit_bias") is None else "sigmoid"
    return make_spec(file, image=image, text=words, dimension=dimension, score=score)


def text_section(model: dict[str, Any], file: Path) -> tuple[int, str | None, dict[str, Any]]:
    """Context length, name of a Hugging Face tokenizer where one is used, and its options."""
    text = Section(file, model.get("text_cfg"), TEXT, name="text_cfg")
    length = text.size("context_length")
    text.finish()
    return length, text.get("hf_tokenizer_name"), dict(text.get("tokenizer_kwargs") or {})


def trims(model: dict[str, Any]) -> bool:
    """Whether texts may be cut to the longest of a batch: exact for a causal tower that pools at end of text."""
    text = model.get("text_cfg")
    return isinstance(text, dict) and not text.get("no_causal_mask") and text.get("pool_type") != "last"


def saves(spec: DualSpec) -> bool:
    """Whether open_clip has a model of this spec, other than through timm."""
    image, text = spec.image, spec.text
    if not isinstance(image, ResNetSpec | VitSpec) or not isinstance(text, TextSpec):
        return False
    fits = True
    if isinstance(image, VitSpec):
        fits = (image.class_token, image.patch_bias, image.projection, image.naflex) == (True, False, True, False)
        fits = fits and image.pre_norm and image.pool in ("cls", "mean") and image.norm_eps == text.norm_eps
        fits = fits and (image.activation == text.activation)
    plain = text.activation in ("quick_gelu", "gelu")
    return fits and plain and (text.causal or text.pool == "last")


def config_of(spec: DualSpec) -> dict[str, Any]:
    """The `model_cfg` that describes a spec for which `saves` is true."""
    image, text = spec.image, spec.text
    if not isinstance(image, ResNetSpec | VitSpec) or not isinstance(text, TextSpec):
        raise CheckpointError("the open_clip layout has no model of this spec")
    norm = {} if text.norm_eps == 1e-5 else {"norm_kwargs": {"eps": text.norm_eps}}
    if isinstance(image, ResNetSpec):
        vision: dict[str, Any] = {"layers": list(image.layers), "width": image.width, "patch_size": None}
        vision["head_width"] = image.features // image.heads
    else:
        vision = {
            "layers": image.layers,
            "width": image.width,
            "head_width": image.width // image.heads,
            "mlp_ratio": _ratio(image.width, image.mlp_width),
            "patch_size": image.patch_size,
            **({"pool_type": "avg"} if image.pool == "mean" else {}),
            **norm,
        }
    words = {
        "context_length": text.context_length,
        "vocab_size": text.vocabulary,
        "width": text.width,
        "heads": text.heads,
        "layers": text.layers,
        "mlp_ratio": _ratio(text.width, text.mlp_width),
        "pad_id": text.pad_token,
        "eos_id": text.eos_token,
        "pool_type": text.pool,
        "proj_bias": text.projection_bias,
        "no_causal_mask": not text.causal,
        **norm,
    }
    return {
        "embed_dim": spec.dimension,
        "quick_gelu": text.activation == "quick_gelu",
        **({"init_logit_bias": -10} if spec.logit_bias else {}),
        "custom_text": True,
        "vision_cfg": {"image_size": image.image_size, **vision},
        "text_cfg": words,
    }


def _image(vision: Section, given: object, quick: bool, dimension: int) -> VitSpec | ResNetSpec:
    known = {
        *VISION,
        "no_ln_pre",
        "pool_type",
        "act_kwargs",
        "norm_kwargs",
        "timm_model_name",
        "timm_pool",
        "timm_proj",
    }
    _unsupported(vision, given, known)
    if vision.get("timm_model_name"):
        return _timm_image(vision, dimension)
    layers = vision.get("layers")
    if isinstance(layers, (list, tuple)):
        if len(layers) != 4 or not all(isinstance(n, int) and 1 <= n <= 1000 for n in layers):
            vision.problem("layers", "expected four whole numbers")
            layers = (1, 1, 1, 1)
        width = vision.size("width")
        heads = max(1, width * 32 // vision.size("head_width"))
        return ResNetSpec(vision.size("image_size"), width, (layers[0], layers[1], layers[2], layers[3]), heads)
    if vision.size("width") % vision.size("head_width"):
        vision.problem("head_width", f"expected a divisor of width ({vision.get('width')})")
    pool = {"tok": "cls", "avg": "mean"}.get(vision.get("pool_type") or "tok")
    if pool is None:
        vision.problem("pool_type", "anmok knows tok and avg")
    if pool == "mean" and vision.get("final_ln_after_pool"):
        vision.problem("final_ln_after_pool", "which anmok does not support with pool_type avg")
    return VitSpec(
        image_size=vision.size("image_size"),
        patch_size=vision.size("patch_size"),
        width=vision.size("width"),
        layers=vision.layers("layers"),
        heads=max(1, vision.size("width") // vision.size("head_width")),
        mlp_width=int(vision.size("width") * vision.number("mlp_ratio")),
        activation=_activation(vision, quick),
        pool="mean" if pool == "mean" else "cls",
        class_token=True,
        pre_norm=not vision.get("no_ln_pre"),
        patch_bias=False,
        norm_eps=_epsilon(vision),
        projection=True,
    )


def _timm_image(vision: Section, dimension: int) -> VitSpec:
    """A SigLIP tower of timm, by the grammar of its name: `vit_base_patch16_siglip_224`."""
    name = TIMM_NAME.fullmatch(str(vision.get("timm_model_name")))
    if name is None or name["size"] not in TIMM_SIZES:
        sizes = [f"vit_{size}_patch16_siglip_256" for size in TIMM_SIZES]
        near = did_you_mean(str(vision.get("timm_model_name")), sizes)
        vision.problem("timm_model_name", f"anmok knows timm's SigLIP towers, vit_SIZE_patchP_siglip_S.{near}")
        return VitSpec(16, 16, 1, 1, 1, 1, "gelu", "map", False, False, True, 1e-6, False)
    if vision.get("timm_pool") != "map":
        vision.problem("timm_pool", "expected map")
    if vision.get("timm_proj") not in (None, "", "none"):
        vision.problem("timm_proj", "expected none")
    width, layers, heads, ratio, activation = TIMM_SIZES[name["size"]]
    if width != dimension:
        vision.problem("timm_model_name", f"whose pictures have {width} dimensions where embed_dim is {dimension}")
    if vision.get("image_size") not in (int(name["image"]), [int(name["image"])] * 2):
        vision.problem("image_size", f"where timm_model_name says {name['image']}")
    return VitSpec(
        image_size=int(name["image"]),
        patch_size=int(name["patch"]),
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=int(width * ratio),
        activation=activation,
        pool="map",
        class_token=False,
        pre_norm=False,
        patch_bias=True,
        norm_eps=1e-6,
        projection=False,
    )


def _text(text: Section, given: object, quick: bool, tokenizer: Tokenizer) -> TextSpec:
    known = {*TEXT, "no_causal_mask", "proj_bias", "act_kwargs", "norm_kwargs"}
    _unsupported(text, given, known)
    pool, causal = text.get("pool_type"), not text.get("no_causal_mask")
    if pool not in ("argmax", "eos", "last"):
        text.problem("pool_type", "anmok knows argmax, eos and last")
    if pool == "eos" and text.get("eos_id") != tokenizer.eos_token:
        text.problem("eos_id", f"but the tokenizer ends texts with {tokenizer.eos_token}")
    if pool == "argmax" and tokenizer.eos_token != tokenizer.vocabulary - 1:
        text.problem("pool_type", "but the tokenizer has ids above its end-of-text token")
    if pool != "last" and not causal:
        text.problem("no_causal_mask", f"which anmok supports with pool_type last, here {pool}")
    text.divides("heads", "width")
    return TextSpec(
        vocabulary=text.size("vocab_size"),
        context_length=text.size("context_length"),
        width=text.size("width"),
        layers=text.layers("layers"),
        heads=text.size("heads"),
        mlp_width=int(text.size("width") * text.number("mlp_ratio")),
        activation=_activation(text, quick),
        causal=causal,
        pool="last" if pool == "last" else "eos",
        norm_eps=_epsilon(text),
        projection_bias=bool(text.get("proj_bias")),
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
    )


def _unsupported(section: Section, given: object, known: set[str]) -> None:
    """Note options that change the model in ways that anmok cannot follow; unknown ones might."""
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if key == "hf_model_name" and value:
            section.problem(key, "a text tower of Hugging Face, which anmok does not support yet")
        elif key in UNSUPPORTED and value != UNSUPPORTED[key] and value is not None:
            section.problem(key, "which anmok does not support yet")
        elif key not in known | HARMLESS | set(UNSUPPORTED):
            section.problem(key, "an option that anmok does not know")


def _activation(section: Section, quick: bool) -> Activation:
    options = section.get("act_kwargs") or {}
    if options not in ({}, {"approximate": "none"}, {"approximate": "tanh"}) or (quick and options):
        section.problem("act_kwargs", "which anmok does not support")
    if quick:
        return "quick_gelu"
    return "gelu_tanh" if options == {"approximate": "tanh"} else "gelu"


def _epsilon(section: Section) -> float:
    options = section.get("norm_kwargs") or {}
    epsilon = options.get("eps", 1e-5) if isinstance(options, dict) and set(options) <= {"eps"} else None
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        section.problem("norm_kwargs", "expected only eps")
        return 1e-5
    return epsilon


def _ratio(width: int, mlp_width: int) -> float:
    """An MLP ratio that gives `mlp_width` back through int(width * ratio)."""
    ratio = mlp_width / width
    return ratio if int(width * ratio) == mlp_width else (mlp_width + 0.5) / width
