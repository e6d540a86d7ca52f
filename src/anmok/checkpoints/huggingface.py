"""The Hugging Face layout of CLIP, SigLIP and SigLIP 2 (fixed size and NaFlex): config → spec, names both ways.

Source: transformers 5.23, `models/{clip,siglip,siglip2}`. Configs leave out what equals the
default, so the defaults are here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anmok.checkpoints.config import ACTIVATIONS, Section, make_spec
from anmok.checkpoints.sources import Source, source
from anmok.errors import CheckpointError
from anmok.models.spec import DualSpec, TextSpec, VitSpec

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.texts import Tokenizer

__all__ = ["MODEL_TYPES", "config_of", "context_length", "ignored", "saves", "sources", "spec_of"]

MODEL_TYPES = ("clip", "siglip", "siglip2")
LEGACY_EOS = 2  # configs before transformers 4.31 say 2 and pool at the highest id, which is end-of-text
TOWER = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
}  # fmt: skip
CLIP_VISION = {
    **TOWER, "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
CLIP_TEXT = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
    "vocab_size": 49408, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}  # fmt: skip
SIGLIP_VISION = {
    **TOWER, "image_size": 224, "patch_size": 16, "num_patches": 256, "vision_use_head": True,
    "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip
SIGLIP_TEXT = {
    **TOWER, "vocab_size": 32000, "max_position_embeddings": 64, "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}  # fmt: skip


def spec_of(config: dict[str, Any], file: Path, tokenizer: Tokenizer) -> DualSpec:
    """The spec that a `config.json` describes; `tokenizer` gives the ids of end-of-text and padding.

    Raises:
        CheckpointError: a value cannot be used, or the config and the tokenizer contradict each other.
    """
    if config.get("model_type") == "clip":
        return _clip(config, file, tokenizer)
    return _siglip(config, file, tokenizer)


def context_length(config: dict[str, Any], file: Path) -> int:
    """Length of the longest text in tokens, which the tokenizer needs before the spec is made."""
    section = _section(config, file, "text", CLIP_TEXT if config.get("model_type") == "clip" else SIGLIP_TEXT, [])
    length = section.size("max_position_embeddings")
    section.finish()
    return length


def ignored(name: str) -> bool:
    """Buffers that older versions of transformers saved beside the weights."""
    return name.endswith(".position_ids")


def sources(spec: DualSpec) -> dict[str, Source]:
    """Our name → names of the Hugging Face layout."""
    clip = spec.score == "softmax"
    ones = 0 if clip else 1  # SigLIP stores its two numbers as arrays of one
    table = {"logit_scale": source("logit_scale", ones=ones), "logit_bias": source("logit_bias", ones=ones)}
    if not isinstance(spec.image, VitSpec) or not isinstance(spec.text, TextSpec):
        raise CheckpointError("the Hugging Face layout has no model of this spec")
    table |= _image_sources(spec.image)
    table["text.token_embedding.weight"] = source("text_model.embeddings.token_embedding.weight")
    table["text.position_embedding"] = source("text_model.embeddings.position_embedding.weight")
    table |= _blocks("text", "text_model", spec.text.layers)
    table |= _pair("text.norm", "text_model.final_layer_norm")
    table |= _pair("text.projection", "text_projection" if clip else "text_model.head")
    table["image.projection.weight"] = source("visual_projection.weight")
    return table


def saves(spec: DualSpec) -> bool:
    """Whether transformers has a model of this spec: CLIP or SigLIP with a vision transformer."""
    image, text = spec.image, spec.text
    if not isinstance(image, VitSpec) or not isinstance(text, TextSpec):
        return False
    if spec.score == "softmax":
        return (
            (image.pool, image.class_token, image.pre_norm, image.patch_bias, image.projection, image.naflex)
            == ("cls", True, True, False, True, False)
        ) and (text.causal, text.pool, text.projection_bias, text.eos_token == LEGACY_EOS) == (
            True,
            "eos",
            False,
            False,
        )
    return (
        (image.pool, image.class_token, image.pre_norm, image.patch_bias, image.projection, image.width)
        == ("map", False, False, True, False, spec.dimension)
    ) and (text.causal, text.pool, text.projection_bias) == (False, "last", True)


def config_of(spec: DualSpec, *, bos_token: int | None = None) -> dict[str, Any]:
    """The `config.json` that describes a spec for which `saves` is true."""
    image, text = spec.image, spec.text
    if not isinstance(image, VitSpec) or not isinstance(text, TextSpec) or not saves(spec):
        raise CheckpointError("the Hugging Face layout has no model of this spec")
    kind = "clip" if spec.score == "softmax" else "siglip2" if image.naflex else "siglip"
    name_of = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    vision = _tower_config(image, name_of) | {"patch_size": image.patch_size, "model_type": f"{kind}_vision_model"}
    vision |= {"num_patches": image.grid**2} if image.naflex else {"image_size": image.image_size}
    words = _tower_config(text, name_of) | {
        "vocab_size": text.vocabulary,
        "max_position_embeddings": text.context_length,
        "bos_token_id": bos_token,
        "eos_token_id": text.eos_token,
        "pad_token_id": text.pad_token,
        "model_type": f"{kind}_text_model",
    }
    config: dict[str, Any] = {"model_type": kind, "text_config": words, "vision_config": vision}
    if kind == "clip":
        words["projection_dim"] = vision["projection_dim"] = config["projection_dim"] = spec.dimension
    else:
        words["projection_size"] = spec.dimension
    architecture = {"clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}[kind]
    return {"architectures": [architecture], "dtype": "float32", **config}


def _clip(config: dict[str, Any], file: Path, tokenizer: Tokenizer) -> DualSpec:
    problems: list[str] = []
    top = Section(file, config, {"projection_dim": 512}, problems=problems)
    vision = _section(config, file, "vision", CLIP_VISION, problems)
    text = _section(config, file, "text", CLIP_TEXT, problems)
    image = VitSpec(
        **_image_sizes(vision),
        image_size=vision.size("image_size"),
        pool="cls",
        class_token=True,
        pre_norm=True,
        patch_bias=False,
        projection=True,
    )
    eos_token = text.get("eos_token_id")
    if eos_token == LEGACY_EOS and tokenizer.eos_token != tokenizer.vocabulary - 1:
        text.problem("eos_token_id", "so texts end at the highest id, but the tokenizer has ids above its end of text")
    if eos_token not in (LEGACY_EOS, tokenizer.eos_token):
        text.problem("eos_token_id", f"but the tokenizer ends texts with {tokenizer.eos_token}")
    words, dimension = _text_spec(text, tokenizer, causal=True), top.size("projection_dim")
    top.finish()
    return make_spec(file, image=image, text=words, dimension=dimension, score="softmax")


def _siglip(config: dict[str, Any], file: Path, tokenizer: Tokenizer) -> DualSpec:
    problems: list[str] = []
    vision = _section(config, file, "vision", SIGLIP_VISION, problems)
    text = _section(config, file, "text", SIGLIP_TEXT, problems)
    naflex = config.get("model_type") == "siglip2"
    if not vision.get("vision_use_head"):
        vision.problem("vision_use_head", "and a tower without its pooling head has no embeddings to compare")
    grid = round(vision.size("num_patches") ** 0.5)
    if naflex and grid**2 != vision.size("num_patches"):
        vision.problem("num_patches", "expected a square number")
    image = VitSpec(
        **_image_sizes(vision),
        image_size=grid * vision.size("patch_size") if naflex else vision.size("image_size"),
        pool="map",
        class_token=False,
        pre_norm=False,
        patch_bias=True,
        projection=False,
        naflex=naflex,
    )
    dimension = text.size("projection_size") if text.get("projection_size") else text.size("hidden_size")
    if dimension != image.width:
        problems.append(f"texts have {dimension} dimensions and pictures {image.width}, expected the same")
    words = _text_spec(text, tokenizer, causal=False)
    vision.finish()
    return make_spec(file, image=image, text=words, dimension=dimension, score="sigmoid")


def _section(config: dict[str, Any], file: Path, tower: str, defaults: dict[str, Any], problems: list[str]) -> Section:
    """One tower's config. `text_config_dict`, where an old file has it, overrides `text_config`, as in transformers."""
    values = config.get(f"{tower}_config") or {}
    older = config.get(f"{tower}_config_dict")
    if isinstance(values, dict) and isinstance(older, dict):
        values = {**values, **older}
    return Section(file, values, defaults, name=f"{tower}_config", problems=problems)


def _image_sizes(vision: Section) -> dict[str, Any]:
    if vision.get("num_channels") not in (None, 3):
        vision.problem("num_channels", "expected 3")
    return {**_sizes(vision), "patch_size": vision.size("patch_size")}


def _sizes(section: Section) -> dict[str, Any]:
    section.divides("num_attention_heads", "hidden_size")
    return {
        "width": section.size("hidden_size"),
        "layers": section.layers("num_hidden_layers"),
        "heads": section.size("num_attention_heads"),
        "mlp_width": section.size("intermediate_size"),
        "activation": section.activation("hidden_act"),
        "norm_eps": section.number("layer_norm_eps"),
    }


def _text_spec(text: Section, tokenizer: Tokenizer, *, causal: bool) -> TextSpec:
    return TextSpec(
        **_sizes(text),
        vocabulary=text.size("vocab_size"),
        context_length=text.size("max_position_embeddings"),
        causal=causal,
        pool="eos" if causal else "last",
        projection_bias=not causal,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
    )


def _tower_config(tower: VitSpec | TextSpec, name_of: dict[Any, str]) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.mlp_width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "hidden_act": name_of[tower.activation],
        "layer_norm_eps": tower.norm_eps,
    }


def _image_sources(image: VitSpec) -> dict[str, Source]:
    embeddings = "vision_model.embeddings"
    table = {
        "image.patch_embedding.weight": source(
            f"{embeddings}.patch_embedding.weight", change="patches" if image.naflex else "same"
        ),
        "image.patch_embedding.bias": source(f"{embeddings}.patch_embedding.bias"),
        "image.class_embedding": source(f"{embeddings}.class_embedding"),
        "image.position_embedding": source(f"{embeddings}.position_embedding.weight"),
        "image.pool.probe": source("vision_model.head.probe", ones=2),
        "image.pool.attention.qkv.weight": source("vision_model.head.attention.in_proj_weight"),
        "image.pool.attention.qkv.bias": source("vision_model.head.attention.in_proj_bias"),
    }
    table |= _pair("image.pre_norm", "vision_model.pre_layrnorm")  # transformers spells it so
    table |= _blocks("image", "vision_model", image.layers)
    table |= _pair("image.norm", "vision_model.post_layernorm")
    table |= _pair("image.pool.attention.out", "vision_model.head.attention.out_proj")
    table |= _pair("image.pool.norm", "vision_model.head.layernorm")
    table |= _pair("image.pool.mlp.up", "vision_model.head.mlp.fc1")
    return table | _pair("image.pool.mlp.down", "vision_model.head.mlp.fc2")


def _blocks(ours: str, theirs: str, layers: int) -> dict[str, Source]:
    table: dict[str, Source] = {}
    for i in range(layers):
        block, layer = f"{ours}.blocks.{i}", f"{theirs}.encoder.layers.{i}"
        table |= _pair(f"{block}.norm1", f"{layer}.layer_norm1")
        for kind in ("weight", "bias"):
            attention = f"{layer}.self_attn"
            table[f"{block}.attention.qkv.{kind}"] = source(*(f"{attention}.{x}_proj.{kind}" for x in "qkv"))
        table |= _pair(f"{block}.attention.out", f"{layer}.self_attn.out_proj")
        table |= _pair(f"{block}.norm2", f"{layer}.layer_norm2")
        table |= _pair(f"{block}.mlp.up", f"{layer}.mlp.fc1")
        table |= _pair(f"{block}.mlp.down", f"{layer}.mlp.fc2")
    return table


def _pair(ours: str, theirs: str) -> dict[str, Source]:
    return {f"{ours}.{kind}": source(f"{theirs}.{kind}") for kind in ("weight", "bias")}
