"""A trained DualEncoder, with a tokenizer of its own, as an open_clip folder in half precision.

The names are open_clip's, so that its own CLIP class loads the file strictly.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from anmok.models.spec import ResNetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from anmok.models.modules import DualEncoder
    from anmok.models.spec import DualSpec

__all__ = ["MEAN", "STD", "open_clip_config", "open_clip_weights", "save_open_clip", "train_tokenizer"]

MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's
STD = (0.26862954, 0.26130258, 0.27577711)
START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], folder: Path, *, vocabulary: int, context_length: int) -> Tokenizer:
    """A byte-level BPE, lower case, NFC; any text has tokens. Read from the folder where it is there already.

    The end of text is the last id, since open_clip pools at the highest id of a row; padding is 0.
    """
    file = folder / "tokenizer.json"
    if file.exists():
        return Tokenizer.from_file(str(file))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace("\n", " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2,
        min_frequency=2,
        special_tokens=[PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([START, END])
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, start), (END, end)]
    )
    tokenizer.save(str(file))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "bos_token": START,
        "eos_token": END,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return tokenizer


def save_open_clip(model: DualEncoder, tokenizer: Tokenizer, folder: Path) -> None:
    """Write config, weights (float16), tokenizer and its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = model.spec
    config = open_clip_config(spec, folder.name)
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    arrays = {name: array.detach().float().numpy() for name, array in model.state_dict().items()}
    half = {name: np.ascontiguousarray(array, np.float16) for name, array in open_clip_weights(spec, arrays).items()}
    file = folder / "open_clip_model.safetensors"
    save_file(half, file, metadata={"format": "pt"})
    file.chmod(0o644)  # safetensors writes for the owner alone; a package is read by all
    train_settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": spec.text.context_length,
        "bos_token": START,
        "eos_token": END,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(train_settings, indent=2) + "\n", encoding="utf-8")


def open_clip_config(spec: DualSpec, name: str) -> dict[str, Any]:
    """`open_clip_config.json` for a ResNet picture tower and a causal text tower.

    Raises:
        ValueError: open_clip cannot express the spec.
    """
    image, text = spec.image, spec.text
    if not isinstance(image, ResNetSpec) or image.heads != image.width * 32 // 64:
        raise ValueError("open_clip's ResNet has one head per 64 channels of its last feature map")
    if not text.causal or text.pool != "eos" or text.eos_token != text.vocabulary - 1 or text.projection_bias:
        raise ValueError("open_clip pools a causal text tower at the highest id, which must be the end of text")
    model = {
        "embed_dim": spec.dimension,
        "quick_gelu": text.activation == "quick_gelu",
        **({"init_logit_bias": -10} if spec.logit_bias else {}),
        "vision_cfg": {
            "image_size": image.image_size,
            "layers": list(image.layers),
            "width": image.width,
            "head_width": 64,
            "patch_size": None,
        },
        "text_cfg": {
            "context_length": text.context_length,
            "vocab_size": text.vocabulary,
            "hf_tokenizer_name": name,
            "tokenizer_kwargs": {"clean": "whitespace"},
            "width": text.width,
            "heads": text.heads,
            "layers": text.layers,
            "mlp_ratio": text.mlp_width / text.width,
            "pad_id": text.pad_token,
            "eos_id": text.eos_token,
        },
    }
    pixels = {
        "size": [image.image_size, image.image_size],
        "mode": "RGB",
        "mean": list(MEAN),
        "std": list(STD),
        "interpolation": "bicubic",
        "resize_mode": "squash",
        "fill_color": 0,
    }
    return {"model_cfg": model, "preprocess_cfg": pixels}


def open_clip_weights(spec: DualSpec, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under open_clip's names; the state dict of its CLIP class, buffers of batch counts included."""
    image = spec.image
    assert isinstance(image, ResNetSpec)
    named: dict[str, np.ndarray] = {}

    def take(theirs: str, ours: str, parts: tuple[str, ...] = ("weight", "bias")) -> None:
        for part in parts:
            named[f"{theirs}.{part}"] = arrays[f"{ours}.{part}"]

    def norm(theirs: str, ours: str) -> None:
        take(theirs, ours, ("weight", "bias", "running_mean", "running_var"))
        named[f"{theirs}.num_batches_tracked"] = np.zeros((), np.int64)

    for i in (1, 2, 3):
        take(f"visual.conv{i}", f"image.stem.conv{i}", ("weight",))
        norm(f"visual.bn{i}", f"image.stem.norm{i}")
    for stage, depth in enumerate(image.layers):
        for block in range(depth):
            theirs, ours = f"visual.layer{stage + 1}.{block}", f"image.stages.{stage}.{block}"
            for i in (1, 2, 3):
                take(f"{theirs}.conv{i}", f"{ours}.conv{i}", ("weight",))
                norm(f"{theirs}.bn{i}", f"{ours}.norm{i}")
            if block == 0:
                take(f"{theirs}.downsample.0", f"{ours}.shortcut.conv", ("weight",))
                norm(f"{theirs}.downsample.1", f"{ours}.shortcut.norm")
    named["visual.attnpool.positional_embedding"] = arrays["image.pool.position_embedding"]
    for theirs, ours in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("c_proj", "out")):
        take(f"visual.attnpool.{theirs}", f"image.pool.{ours}")
    named["positional_embedding"] = arrays["text.position_embedding"]
    take("token_embedding", "text.token_embedding", ("weight",))
    for i in range(spec.text.layers):
        theirs, ours = f"transformer.resblocks.{i}", f"text.blocks.{i}"
        for part in ("weight", "bias"):
            named[f"{theirs}.attn.in_proj_{part}"] = arrays[f"{ours}.attention.qkv.{part}"]
        take(f"{theirs}.attn.out_proj", f"{ours}.attention.out")
        take(f"{theirs}.ln_1", f"{ours}.norm1")
        take(f"{theirs}.ln_2", f"{ours}.norm2")
        take(f"{theirs}.mlp.c_fc", f"{ours}.mlp.up")
        take(f"{theirs}.mlp.c_proj", f"{ours}.mlp.down")
    take("ln_final", "text.norm")
    named["text_projection"] = arrays["text.projection.weight"].T
    for name in ("logit_scale", "logit_bias") if spec.logit_bias else ("logit_scale",):
        named[name] = arrays[name]
    return named
