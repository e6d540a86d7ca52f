"""Names of the open_clip layout ↔ ours, for every tower that `open_clip.py` reads from a config.

Source: state dicts of open_clip 3.3 (`model.py`, `transformer.py`, `modified_resnet.py`) and timm
1.0 (`vision_transformer.py`). OpenAI's original names are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anmok.checkpoints.sources import Source, source
from anmok.errors import CheckpointError
from anmok.models.spec import ResNetSpec, TextSpec, VitSpec, weight_shapes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from anmok.models.spec import DualSpec

__all__ = ["ignored", "sources", "to_open_clip"]


def ignored(name: str) -> bool:
    """Buffers and notes that carry no weights."""
    return name.endswith((".num_batches_tracked", "attn_mask")) or name in (
        "input_resolution",
        "context_length",
        "vocab_size",
    )


def sources(spec: DualSpec, names: Collection[str]) -> dict[str, Source]:
    """Our name → names of the open_clip layout.

    Args:
        spec: of the model.
        names: what the file holds; tells apart the two places of the text tower and the two image towers.
    """
    table = {"logit_scale": source("logit_scale"), "logit_bias": source("logit_bias")}
    if not isinstance(spec.text, TextSpec) or not isinstance(spec.image, ResNetSpec | VitSpec):
        raise CheckpointError("the open_clip layout has no model of this spec")
    if isinstance(spec.image, ResNetSpec):
        table |= _resnet(spec.image)
    else:
        timm = spec.image.pool == "map" or any(name.startswith("visual.trunk.") for name in names)
        table |= _timm(spec.image.layers) if timm else _vit(spec.image.layers)
    prefix = "text." if "text.token_embedding.weight" in names else ""
    return table | _text_sources(spec.text, prefix)


def to_open_clip(spec: DualSpec, weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Our arrays under the names of `open_clip.CLIP`'s state dict.

    Without the `num_batches_tracked` counters of a ResNet, which carry no weights.
    """
    table = sources(spec, ())
    return {
        part: piece
        for name in weight_shapes(spec)
        for part, piece in zip(table[name].parts, table[name].split(weights[name]), strict=True)
    }


def _vit(layers: int) -> dict[str, Source]:
    table = {
        "image.patch_embedding.weight": source("visual.conv1.weight"),
        "image.class_embedding": source("visual.class_embedding"),
        "image.position_embedding": source("visual.positional_embedding"),
        "image.projection.weight": source("visual.proj", change="transpose"),
    }
    table |= _pair("image.pre_norm", "visual.ln_pre") | _pair("image.norm", "visual.ln_post")
    return table | _blocks("image", "visual.", layers)


def _text_sources(spec: TextSpec, prefix: str) -> dict[str, Source]:
    table = {
        "text.token_embedding.weight": source(f"{prefix}token_embedding.weight"),
        "text.position_embedding": source(f"{prefix}positional_embedding"),
    }
    table |= _blocks("text", prefix, spec.layers) | _pair("text.norm", f"{prefix}ln_final")
    if spec.projection_bias:  # a linear layer; without bias it is a bare parameter [w, d]
        return table | _pair("text.projection", f"{prefix}text_projection")
    return table | {"text.projection.weight": source(f"{prefix}text_projection", change="transpose")}


def _blocks(ours: str, prefix: str, layers: int) -> dict[str, Source]:
    table: dict[str, Source] = {}
    for i in range(layers):
        block, theirs = f"{ours}.blocks.{i}", f"{prefix}transformer.resblocks.{i}"
        table |= _pair(f"{block}.norm1", f"{theirs}.ln_1")
        table[f"{block}.attention.qkv.weight"] = source(f"{theirs}.attn.in_proj_weight")
        table[f"{block}.attention.qkv.bias"] = source(f"{theirs}.attn.in_proj_bias")
        table |= _pair(f"{block}.attention.out", f"{theirs}.attn.out_proj")
        table |= _pair(f"{block}.norm2", f"{theirs}.ln_2")
        table |= _pair(f"{block}.mlp.up", f"{theirs}.mlp.c_fc")
        table |= _pair(f"{block}.mlp.down", f"{theirs}.mlp.c_proj")
    return table


def _timm(layers: int) -> dict[str, Source]:
    trunk, pool = "visual.trunk", "visual.trunk.attn_pool"
    table = {
        "image.position_embedding": source(f"{trunk}.pos_embed"),
        "image.pool.probe": source(f"{pool}.latent"),
    }
    table |= _pair("image.patch_embedding", f"{trunk}.patch_embed.proj")
    for i in range(layers):
        block, theirs = f"image.blocks.{i}", f"{trunk}.blocks.{i}"
        for ours, part in (
            ("norm1", "norm1"), ("attention.qkv", "attn.qkv"), ("attention.out", "attn.proj"),
            ("norm2", "norm2"), ("mlp.up", "mlp.fc1"), ("mlp.down", "mlp.fc2"),
        ):  # fmt: skip
            table |= _pair(f"{block}.{ours}", f"{theirs}.{part}")
    table |= _pair("image.norm", f"{trunk}.norm")
    for kind in ("weight", "bias"):  # timm splits the pooling's query from its keys and values
        table[f"image.pool.attention.qkv.{kind}"] = source(f"{pool}.q.{kind}", f"{pool}.kv.{kind}")
    table |= _pair("image.pool.attention.out", f"{pool}.proj") | _pair("image.pool.norm", f"{pool}.norm")
    return table | _pair("image.pool.mlp.up", f"{pool}.mlp.fc1") | _pair("image.pool.mlp.down", f"{pool}.mlp.fc2")


def _resnet(spec: ResNetSpec) -> dict[str, Source]:
    table: dict[str, Source] = {}
    for i in (1, 2, 3):
        table[f"image.stem.conv{i}.weight"] = source(f"visual.conv{i}.weight")
        table |= _batch_norm(f"image.stem.norm{i}", f"visual.bn{i}")
    for stage, depth in enumerate(spec.layers):
        for block in range(depth):
            ours, theirs = f"image.stages.{stage}.{block}", f"visual.layer{stage + 1}.{block}"
            for i in (1, 2, 3):
                table[f"{ours}.conv{i}.weight"] = source(f"{theirs}.conv{i}.weight")
                table |= _batch_norm(f"{ours}.norm{i}", f"{theirs}.bn{i}")
            table[f"{ours}.shortcut.conv.weight"] = source(f"{theirs}.downsample.0.weight")
            table |= _batch_norm(f"{ours}.shortcut.norm", f"{theirs}.downsample.1")
    table["image.pool.position_embedding"] = source("visual.attnpool.positional_embedding")
    for ours, part in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "c")):
        table |= _pair(f"image.pool.{ours}", f"visual.attnpool.{part}_proj")
    return table


def _batch_norm(ours: str, theirs: str) -> dict[str, Source]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{ours}.{part}": source(f"{theirs}.{part}") for part in parts}


def _pair(ours: str, theirs: str) -> dict[str, Source]:
    return {f"{ours}.{kind}": source(f"{theirs}.{kind}") for kind in ("weight", "bias")}
