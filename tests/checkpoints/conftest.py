"""Tiny checkpoints of every layout with random weights, made by the references themselves."""

from __future__ import annotations

import io
import json
import random
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "a photo of a cat",
    "a red bag on a wooden table, seen from above",
    "빨간 가방 사진",
    "",
    "word " * 120,  # longer than any context: a full row
]
SIZES = [(97, 61), (32, 32), (45, 200), (33, 31)]  # width, height; odd on purpose
WORDS = str.split(
    "a photo of the cat dog red bag shoe on wooden table seen from above word street market blue small large old "
    "빨간 가방 사진 고양이 강아지 거리 시장 파란 작은 커다란"
)


@pytest.fixture(scope="session")
def transformers(torchvision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        from transformers import CLIPModel, Siglip2Model, SiglipModel  # noqa: F401 (their imports warn too)
    return transformers


@pytest.fixture(scope="session")
def open_clip(torchvision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import open_clip
    return open_clip


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(5)
    small = [rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8) for width, height in SIZES]
    return [
        Image.fromarray(array).resize(size, Image.Resampling.BICUBIC) for array, size in zip(small, SIZES, strict=True)
    ]


def randomize(model, seed: int = 0):
    """Weights at which every part of the model shows in the result (initial ones are often zero)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.dtype.is_floating_point:
                continue
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif name.endswith("logit_scale"):
                value.fill_(1.3)
            elif name.endswith("logit_bias"):
                value.fill_(-0.7)
            elif value.ndim >= 2:
                gain = 1.4 if value.ndim == 4 else 1.0  # convolutions: ReLU and batch norm would fade the picture out
                value.copy_(torch.randn(value.shape, generator=generator) * gain * value[0].numel() ** -0.5)
            else:
                norm = ("norm" in name or "ln_" in name or "bn" in name) and name.endswith("weight")
                value.copy_(torch.randn(value.shape, generator=generator) * 0.2 + (1.0 if norm else 0.0))
    return model.eval()


# --- tokenizers ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def clip_tokenizer_files(tmp_path_factory, open_clip) -> Path:
    """CLIP's `vocab.json` and `merges.txt`, from open_clip's copy of the vocabulary."""
    reference = open_clip.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    folder = tmp_path_factory.mktemp("clip-tokenizer")
    vocabulary = {names.get(piece, piece): i for piece, i in reference.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in reference.bpe_ranks)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    return folder


def _sentencepiece(**options) -> bytes:
    import sentencepiece

    chance = random.Random(7)
    lines = [" ".join(chance.choice(WORDS) for _ in range(8)) for _ in range(200)]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=written, hard_vocab_limit=False, minloglevel=3, num_threads=1,
        **options,
    )  # fmt: skip
    return written.getvalue()


@pytest.fixture(scope="session")
def siglip_tokenizer_files(tmp_path_factory) -> Path:
    """A `spiece.model` of the make of SigLIP's."""
    folder = tmp_path_factory.mktemp("siglip-tokenizer")
    blob = _sentencepiece(model_type="unigram", vocab_size=200, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (folder / "spiece.model").write_bytes(blob)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64})
    return folder


@pytest.fixture(scope="session")
def gemma_tokenizer_files(tmp_path_factory) -> Path:
    """A `tokenizer.model` of the make of SigLIP 2's (Gemma)."""
    folder = tmp_path_factory.mktemp("gemma-tokenizer")
    blob = _sentencepiece(
        model_type="bpe", vocab_size=500, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(blob)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GemmaTokenizer", "model_max_length": 64})
    return folder


def write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def copy_files(origin: Path, target: Path) -> None:
    for file in origin.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


# --- folders of Hugging Face ---------------------------------------------------------------

CLIP_PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 32}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "do_normalize": True, "do_rescale": True,
    "rescale_factor": 0.00392156862745098, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip
SIGLIP_PREPROCESSOR = {
    "image_processor_type": "SiglipImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32},
    "resample": 3, "do_normalize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
NAFLEX_PREPROCESSOR = {
    "image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 20, "resample": 2,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}


def make_clip(transformers, folder: Path, tokenizer_files: Path, *, eos_token_id: int = 49407):
    text = {**TOWER, "hidden_size": 24, "vocab_size": 49408, "eos_token_id": eos_token_id}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=20)
    model = randomize(transformers.CLIPModel(config))
    model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", CLIP_PREPROCESSOR)
    copy_files(tokenizer_files, folder)
    return model


def make_siglip(transformers, folder: Path, tokenizer_files: Path, *, naflex: bool = False):
    text = {**TOWER, "vocab_size": 600, "max_position_embeddings": 16, "projection_size": 32}
    text |= {"eos_token_id": 1, "bos_token_id": None, "pad_token_id": 1}
    vision = {**TOWER, "patch_size": 8, "num_patches": 16} if naflex else VISION
    kind = "Siglip2" if naflex else "Siglip"
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=vision)
    model = randomize(getattr(transformers, f"{kind}Model")(config))
    model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", NAFLEX_PREPROCESSOR if naflex else SIGLIP_PREPROCESSOR)
    copy_files(tokenizer_files, folder)
    return model


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory, transformers, clip_tokenizer_files):
    folder = tmp_path_factory.mktemp("hf-clip")
    return SimpleNamespace(folder=folder, model=make_clip(transformers, folder, clip_tokenizer_files))


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory, transformers, siglip_tokenizer_files):
    folder = tmp_path_factory.mktemp("hf-siglip")
    return SimpleNamespace(folder=folder, model=make_siglip(transformers, folder, siglip_tokenizer_files))


@pytest.fixture(scope="session")
def siglip2_folder(tmp_path_factory, transformers, gemma_tokenizer_files):
    """SigLIP 2 of fixed size: SigLIP's layout with Gemma's tokenizer."""
    folder = tmp_path_factory.mktemp("hf-siglip2")
    return SimpleNamespace(folder=folder, model=make_siglip(transformers, folder, gemma_tokenizer_files))


@pytest.fixture(scope="session")
def naflex_folder(tmp_path_factory, transformers, gemma_tokenizer_files):
    folder = tmp_path_factory.mktemp("hf-naflex")
    model = make_siglip(transformers, folder, gemma_tokenizer_files, naflex=True)
    return SimpleNamespace(folder=folder, model=model)


# --- folders of open_clip --------------------------------------------------------------------

TEXT_CFG = {"context_length": 77, "vocab_size": 49408, "width": 24, "heads": 4, "layers": 2}
VIT_CFG = {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8}
RESNET_CFG = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
SIGLIP_TEXT_CFG = {
    "context_length": 16, "vocab_size": 600, "width": 32, "heads": 4, "layers": 2, "no_causal_mask": True,
    "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
    "hf_tokenizer_name": "timm/nano", "tokenizer_kwargs": {"clean": "canonicalize"},
}  # fmt: skip
TIMM_CFG = {
    "image_size": 32, "timm_model_name": "vit_nano_patch8_siglip_32", "timm_model_pretrained": False,
    "timm_pool": "map", "timm_proj": "none",
}  # fmt: skip
PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic", "resize_mode": "shortest",
}  # fmt: skip
SIGLIP_PREPROCESS = {
    "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash",
}  # fmt: skip


def make_open_clip(open_clip, folder: Path, model_cfg: dict, preprocess: dict, *, pickled: bool = False):
    """An open_clip folder as `push_to_hf_hub` writes it, and the model in it."""
    import torch
    from safetensors.torch import save_file

    arguments = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    kind = open_clip.CustomTextCLIP if model_cfg.get("custom_text") else open_clip.CLIP
    model = randomize(kind(**json.loads(json.dumps(arguments))))
    write_json(folder / "open_clip_config.json", {"model_cfg": model_cfg, "preprocess_cfg": preprocess})
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if pickled:
        torch.save(state, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(state, folder / "open_clip_model.safetensors")
    return model


@pytest.fixture(scope="session")
def open_clip_folder(tmp_path_factory, open_clip):
    folder = tmp_path_factory.mktemp("oc-vit")
    config = {"embed_dim": 20, "quick_gelu": True, "vision_cfg": VIT_CFG, "text_cfg": TEXT_CFG}
    return SimpleNamespace(folder=folder, model=make_open_clip(open_clip, folder, config, PREPROCESS), config=config)


@pytest.fixture(scope="session")
def resnet_folder(tmp_path_factory, open_clip):
    folder = tmp_path_factory.mktemp("oc-resnet")
    config = {"embed_dim": 20, "quick_gelu": True, "vision_cfg": RESNET_CFG, "text_cfg": TEXT_CFG}
    model = make_open_clip(open_clip, folder, config, PREPROCESS, pickled=True)
    return SimpleNamespace(folder=folder, model=model, config=config)


@pytest.fixture
def timm_folder(tmp_path, open_clip, gemma_tokenizer_files, monkeypatch):
    """CustomTextCLIP with a SigLIP tower of timm, of a size that exists only in this test."""
    from functools import partial

    import timm
    from timm.models.vision_transformer import VisionTransformer

    from anmok.checkpoints import open_clip as layout

    monkeypatch.setitem(layout.TIMM_SIZES, "nano", (32, 2, 4, 1.5, "gelu"))
    tower = partial(
        VisionTransformer, img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, mlp_ratio=1.5,
        class_token=False, global_pool="map", num_classes=0,
    )  # fmt: skip

    def create_model(name, pretrained=False, **_):
        assert name == TIMM_CFG["timm_model_name"]
        return tower()

    monkeypatch.setattr(timm, "create_model", create_model)
    config = {
        "embed_dim": 32, "init_logit_bias": -10, "custom_text": True, "vision_cfg": TIMM_CFG,
        "text_cfg": SIGLIP_TEXT_CFG,
    }  # fmt: skip
    model = make_open_clip(open_clip, tmp_path, config, SIGLIP_PREPROCESS)
    copy_files(gemma_tokenizer_files, tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "Siglip2Tokenizer", "model_max_length": 16})
    return SimpleNamespace(folder=tmp_path, model=model, config=config)
