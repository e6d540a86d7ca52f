"""Is a loaded checkpoint right? Golden pictures and strings that catch the silent mistakes.

The mistakes looked for are those that give plausible numbers and wrong answers, and that recur
in port after port: a SigLIP that crops where it should squash (invisible on square pictures),
resizing without antialiasing, text that is not lower-cased or padded as the reference does, a
text whose embedding changes with its neighbours in the batch.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from anmok.doctor.finding import Finding
from anmok.models.spec import TextSpec, VitSpec
from anmok.texts import UnsupportedScriptWarning, unsupported_scripts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = ["GOLDEN_TEXTS", "examine_encoder", "golden_pictures", "write_golden"]

GOLDEN_TEXTS = (
    "a photo of a cat",
    "빨간 가방 사진",
    "A RED Bag!",
    "two  cups -- and a saucer.",
    "word " * 100,  # longer than any context
    "",
)

EXACT = 1e-5  # how far two fp32 executors may differ


def golden_pictures() -> list[Image.Image]:
    """Two non-square pictures, drawn from a formula: red on the left or top edge, blue on the other."""
    return [_golden(height=96, width=288), _golden(height=260, width=100)]


def examine_encoder(encoder: Encoder) -> list[Finding]:
    """Examine a loaded encoder, with the reference implementation too where it is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsupportedScriptWarning)  # `_reads_korean` tells it
        findings = [check(encoder) for check in INPUTS]
        if not any(finding.status == "wrong" for finding in findings):  # else the towers would be fed wrong input
            findings += [finding for check in TOWERS if (finding := check(encoder)) is not None]
    return findings


def _golden(*, height: int, width: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    along = x / (width - 1) if width > height else y / (height - 1)
    picture = np.stack([255 * (1 - along), 127 + 100 * np.sin(y / 7) * np.cos(x / 5), 255 * along], axis=-1)
    picture[along < 0.08] = (255, 0, 0)
    picture[along > 0.92] = (0, 0, 255)
    return Image.fromarray(picture.round().astype(np.uint8), "RGB")


def _is_siglip(encoder: Encoder) -> bool:
    image = encoder.checkpoint.spec.image
    return isinstance(image, VitSpec) and image.pool == "map"


def _reads_korean(encoder: Encoder) -> Finding:
    unsupported = unsupported_scripts(encoder.checkpoint.tokenizer, ["빨간 가방 사진"])
    if unsupported:
        spent = f"{unsupported[0].tokens_per_letter:.1f} tokens a letter"
        return Finding("Korean text", "missing", f"the tokenizer cannot carry it ({spent}): use a multilingual model")
    return Finding("Korean text", "ok", "the tokenizer carries it")


def _sees_the_whole_picture(encoder: Encoder) -> Finding:
    """SigLIP squashes: both ends of a long picture must be in its input. CLIP crops the middle."""
    name = "resizing"
    transform = encoder.checkpoint.transform
    if transform.resize == "naflex":
        return Finding(name, "ok", "keeps the aspect ratio (NaFlex)")
    pixels = transform(golden_pictures()[0])
    whole = bool(pixels[:, 0, 0].mean() > 240 and pixels[:, -1, 2].mean() > 240)
    how = "sees the whole picture" if whole else "sees the middle of a long picture"
    if _is_siglip(encoder) and not whole:
        return Finding(
            name, "wrong", f"{how}, but SigLIP was trained on squashed pictures: check preprocessor_config.json"
        )
    return Finding(name, "ok", f"{how} ({transform.resize}, {transform.interpolation})")


def _antialiases(encoder: Encoder) -> Finding:
    """A fine chessboard becomes gray when it is made smaller; without antialiasing it becomes noise."""
    board = (np.indices((1531, 1531)).sum(axis=0) % 2 * 255).astype(np.uint8)  # a prime: no size divides it
    transform = encoder.checkpoint.transform
    picture = Image.fromarray(board, "L").convert("RGB")
    if transform.resize == "naflex":
        patches, mask, _ = transform.patches(picture)
        spread = float(patches[mask].std())
    else:
        spread = float(transform(picture).std())
    if spread > 8:
        return Finding("antialiasing", "wrong", f"a fine pattern becomes noise (spread {spread:.0f} of 255)")
    return Finding("antialiasing", "ok", f"{transform.interpolation}, antialiased")


def _pads_and_ends_texts(encoder: Encoder) -> Finding:
    tokenizer = encoder.checkpoint.tokenizer
    ids, short = tokenizer(list(GOLDEN_TEXTS)), tokenizer(["a"]).shape[1]
    name = "text length"
    spec = encoder.checkpoint.spec.text
    last = isinstance(spec, TextSpec) and spec.pool == "last"
    if last and short != spec.context_length:
        return Finding(
            name, "wrong", f"SigLIP pools at token {spec.context_length}, but a short text comes out {short} long"
        )
    if not last and not (ids == spec.eos_token).any(axis=1).all():
        return Finding(name, "wrong", f"a text has no end-of-text token {spec.eos_token}, where this model pools")
    if ids.max() >= spec.vocabulary:
        return Finding(name, "wrong", f"token {ids.max()} is past the model's vocabulary of {spec.vocabulary}")
    return Finding(name, "ok", f"at most {spec.context_length} tokens, longer texts are cut as the reference cuts them")


def _folds_case(encoder: Encoder) -> Finding:
    tokenizer = encoder.checkpoint.tokenizer
    upper, lower = tokenizer(["A RED BAG", "a red bag"])
    same = np.array_equal(upper, lower)
    detail = "upper and lower case are one" if same else "upper and lower case differ"
    if _is_siglip(encoder) and not same:
        return Finding(
            "lower case", "wrong", f"{detail}, but SigLIP was trained on lower-cased text: check tokenizer_config.json"
        )
    return Finding("lower case", "ok", detail)


def _batch_does_not_matter(encoder: Encoder) -> Finding:
    """An embedding must not depend on what else is in the batch."""
    pictures, texts = golden_pictures(), list(GOLDEN_TEXTS)
    together = encoder.encode_image(pictures).vectors, encoder.encode_text(texts).vectors
    alone = (
        np.concatenate([encoder.encode_image(picture).vectors for picture in pictures]),
        np.concatenate([encoder.encode_text(text).vectors for text in texts]),
    )
    worst = max(float(np.abs(a - b).max()) for a, b in zip(together, alone, strict=True))
    return _compared("alone and in a batch", worst, EXACT)


def _equals_stored(encoder: Encoder) -> Finding | None:
    """A checkpoint may carry `golden.json`, the embeddings its maker saw (anmok-mini does)."""
    folder = encoder.checkpoint.folder
    if folder is None or not (folder / "golden.json").is_file():
        return None
    stored = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    seen = _golden_embeddings(encoder)
    worst = max(float(np.abs(seen[name] - np.array(stored[name])).max()) for name in seen)
    return _compared("stored golden embeddings", worst, 1e-4)


def write_golden(encoder: Encoder, folder: Path) -> None:
    """Store what `examine_encoder` will compare with, for a checkpoint that is about to be shipped."""
    golden = {name: vectors.round(6).tolist() for name, vectors in _golden_embeddings(encoder).items()}
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")


def _golden_embeddings(encoder: Encoder) -> dict[str, NDArray[np.float32]]:
    return {
        "pictures": encoder.encode_image(golden_pictures()).vectors,
        "texts": encoder.encode_text(GOLDEN_TEXTS).vectors,
    }


def _equals_modules(encoder: Encoder) -> Finding | None:
    """The other executor, where torch is installed."""
    if encoder.checkpoint.exports is not None or encoder.runs("image").startswith("torch") or not _installed("torch"):
        return None
    from anmok.encoder import Encoder as AnyEncoder

    other = _golden_embeddings(AnyEncoder(encoder.checkpoint, engine="torch"))
    ours = _golden_embeddings(encoder)
    worst = max(float(np.abs(ours[name] - other[name]).max()) for name in ours)
    return _compared("equal to the PyTorch modules", worst, EXACT)


def _equals_reference(encoder: Encoder) -> Finding | None:
    """transformers on the same folder, where it is installed: pixels, tokens and towers in one comparison."""
    folder = encoder.checkpoint.folder
    if folder is None or not (folder / "config.json").is_file() or encoder.checkpoint.exports is not None:
        return None
    if not (_installed("transformers") and _installed("torch")):
        return Finding("reference", "missing", "pip install transformers torch to compare with the reference itself")
    try:
        theirs = _reference_embeddings(folder, encoder.checkpoint.spec.text.context_length)
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises RuntimeError
        return Finding("reference", "missing", f"transformers cannot be used here: {error}")
    ours = _golden_embeddings(encoder)
    worst = max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)
    return _compared("equal to transformers, pixels and text included", worst, 1e-3)


def _reference_embeddings(folder: Path, context_length: int) -> dict[str, NDArray[np.float32]]:
    import torch
    import transformers

    from anmok.embeddings import unit

    auto: Any = transformers
    model = auto.AutoModel.from_pretrained(folder).eval()
    tokenizer = auto.AutoTokenizer.from_pretrained(folder)
    images = auto.AutoImageProcessor.from_pretrained(folder, backend="pil")(golden_pictures(), return_tensors="pt")
    texts = tokenizer(
        list(GOLDEN_TEXTS), padding="max_length", truncation=True, max_length=context_length, return_tensors="pt"
    )
    with torch.inference_mode():
        pictures = model.get_image_features(**images)
        strings = model.get_text_features(input_ids=texts["input_ids"])
    as_tensor = [out if isinstance(out, torch.Tensor) else out.pooler_output for out in (pictures, strings)]
    return {"pictures": unit(as_tensor[0].numpy()), "texts": unit(as_tensor[1].numpy())}


def _compared(name: str, worst: float, allowed: float) -> Finding:
    return Finding(
        name, "ok" if worst <= allowed else "wrong", f"largest difference {worst:.1e}, allowed {allowed:.0e}"
    )


def _installed(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


# What is fed to the towers is looked at first: wrong input would only make the comparisons below it confusing.
INPUTS: tuple[Callable[[Encoder], Finding], ...] = (
    _reads_korean,
    _sees_the_whole_picture,
    _antialiases,
    _pads_and_ends_texts,
    _folds_case,
)
TOWERS: tuple[Callable[[Encoder], Finding | None], ...] = (
    _batch_does_not_matter,
    _equals_stored,
    _equals_modules,
    _equals_reference,
)
