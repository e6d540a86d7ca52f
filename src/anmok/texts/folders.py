"""Tokenizers on disk: which files a folder has, what its settings say, and writing one back.

| files of the folder             | read as                                                       |
| ------------------------------- | ------------------------------------------------------------- |
| `tokenizer.json`                | a whole tokenizer, as it stands                               |
| `vocab.json` and `merges.txt`   | CLIP's byte-level BPE                                         |
| `spiece.model`                  | SigLIP's SentencePiece model (preferred there, as in transformers) |
| `tokenizer.model`               | Gemma's SentencePiece model, for SigLIP 2                     |

`tokenizer_config.json` and `special_tokens_map.json` name the special tokens, the class and
the longest text. Two keys are anmok's own, since the public format has no word for them:
`clean` (a name of CLEANERS, as open_clip's `tokenizer_kwargs` has it) and
`open_clip_tokenizer` (the folder stands for open_clip's SimpleTokenizer).
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import tokenizers

from anmok.errors import CheckpointError, MissingFile, did_you_mean
from anmok.texts.clean import CLEANERS
from anmok.texts.pipelines import (
    OpenClipPipeline,
    Pipeline,
    SiglipPipeline,
    clip_backend,
    end_with,
    gemma_backend,
    lower_case,
    open_clip_backend,
)
from anmok.texts.sentencepiece import SentencePieceModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Kind", "Loaded", "load", "open_clip", "save"]

Kind = Literal["auto", "clip", "open_clip", "siglip", "siglip2", "plain"]

_START, _END = "<|startoftext|>", "<|endoftext|>"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_DEFAULTS: dict[str, dict[str, str]] = {
    "clip": {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END},
    "siglip": {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
    "siglip2": {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "plain": {},
}
_DEFAULTS["open_clip"] = _DEFAULTS["clip"]
_LENGTHS = {"clip": 77, "open_clip": 77, "siglip": 64, "siglip2": 64}
_CLASSES = {"CLIPTokenizer": "clip", "SiglipTokenizer": "siglip", "Siglip2Tokenizer": "siglip2"}


@dataclass(frozen=True)
class Loaded:
    """A tokenizer's inside and what its files say beside it."""

    kind: str
    pipeline: Pipeline | SiglipPipeline
    names: dict[str, str]  # "eos_token" → "</s>", …
    pad: int  # id
    eos: int  # id


def load(folder: Path, *, context_length: int | None, kind: Kind, clean: str | None) -> Loaded:
    """Read the tokenizer of a folder (see `Tokenizer.from_folder`)."""
    config = _json(folder / "tokenizer_config.json")
    chosen = _kind(folder, config) if kind == "auto" else _checked(kind)
    if chosen == "siglip" and not (folder / "spiece.model").is_file() and _is_gemma(folder, config):
        chosen = "siglip2"
    if clean is None:
        clean = config.get("clean")
    if clean is not None and clean not in CLEANERS:
        raise CheckpointError(
            f"clean is {clean!r}, expected one of {', '.join(CLEANERS)}.{did_you_mean(clean, CLEANERS)}"
        )
    length = context_length or _longest(config) or _LENGTHS.get(chosen)
    if not length or length < 3:
        raise CheckpointError(f"{folder}: the context length is {length}; give one of 3 tokens or more")
    names = _DEFAULTS[chosen] | _named(_json(folder / "special_tokens_map.json")) | _named(config)
    readers = {"clip": _clip, "open_clip": _open_clip, "siglip": _siglip, "siglip2": _siglip2, "plain": _plain}
    pipeline = readers[chosen](folder, config, names, length, clean)
    return _finish(folder, chosen, pipeline, names)


def open_clip(context_length: int) -> Loaded:
    """OpenAI's CLIP vocabulary, which anmok ships, as open_clip's SimpleTokenizer runs it."""
    vocabulary, merges = _shipped()
    backend = open_clip_backend(vocabulary, merges, start=_START, end=_END)
    pipeline = OpenClipPipeline(backend, context_length)
    return Loaded("open_clip", pipeline, dict(_DEFAULTS["clip"]), pad=0, eos=vocabulary[_END])


def save(loaded: Loaded, folder: Path) -> None:
    """Write the files that transformers and `load` read."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline, names = loaded.pipeline, loaded.names
    config: dict[str, Any] = {**names, "model_max_length": pipeline.length, "padding_side": "right"}
    config["clean_up_tokenization_spaces"] = False
    if isinstance(pipeline, SiglipPipeline):
        (folder / "spiece.model").write_bytes(pipeline.model.blob)
        config |= {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True}
    else:
        text = _whole(pipeline.backend)
        if loaded.kind == "open_clip":  # transformers has no such tokenizer; its CLIP differs in the cleaning only
            text = _whole(clip_backend(*_vocabulary_and_merges(text), start=names["bos_token"], end=names["eos_token"]))
            config["open_clip_tokenizer"] = "SimpleTokenizer"
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        classes = {"clip": "CLIPTokenizer", "open_clip": "CLIPTokenizer", "siglip2": "Siglip2Tokenizer"}
        config["tokenizer_class"] = classes.get(loaded.kind, "PreTrainedTokenizerFast")
    if pipeline.clean != ("lower" if loaded.kind == "open_clip" else "none"):
        config["clean"] = pipeline.clean
    _write(folder / "tokenizer_config.json", config)
    _write(folder / "special_tokens_map.json", names)


# --- one reader for each kind -------------------------------------------------------------


def _clip(folder: Path, config: dict[str, Any], names: dict[str, str], length: int, clean: str | None) -> Pipeline:
    if (folder / "tokenizer.json").is_file():
        return _plain(folder, config, names, length, clean)
    vocabulary, merges = _clip_files(folder)
    backend = clip_backend(vocabulary, merges, start=names["bos_token"], end=names["eos_token"])
    _name_special(backend, names)
    return Pipeline(backend, length, clean or "none")


def _open_clip(folder: Path, config: dict[str, Any], names: dict[str, str], length: int, clean: str | None) -> Pipeline:
    path = folder / "tokenizer.json"
    vocabulary, merges = _vocabulary_and_merges(_text(path)) if path.is_file() else _clip_files(folder)
    backend = open_clip_backend(vocabulary, merges, start=names["bos_token"], end=names["eos_token"])
    return OpenClipPipeline(backend, length, clean or "lower")


def _siglip(
    folder: Path, config: dict[str, Any], names: dict[str, str], length: int, clean: str | None
) -> Pipeline | SiglipPipeline:
    path = folder / "spiece.model"
    if not path.is_file():
        if not (folder / "tokenizer.json").is_file():
            raise _missing(folder, "spiece.model", "tokenizer.json")
        return _plain(folder, config, names, length, clean or "siglip")
    model = SentencePieceModel.read(path)
    ids = {piece.text: i for i, piece in enumerate(model.pieces)}
    added = [entry["content"] for entry in config.get("added_tokens_decoder", {}).values()]
    special = {name: ids[name] for name in (*names.values(), *added) if name in ids}
    if names["eos_token"] not in special:
        raise CheckpointError(
            f"{path} has no {names['eos_token']!r}, which {folder.name} names as its end-of-text token"
        )
    return SiglipPipeline(model, length, special, special[names["eos_token"]], clean or "none")


def _siglip2(folder: Path, config: dict[str, Any], names: dict[str, str], length: int, clean: str | None) -> Pipeline:
    if (folder / "tokenizer.json").is_file():
        backend = _backend(folder / "tokenizer.json")
    elif (folder / "tokenizer.model").is_file():
        backend = gemma_backend(SentencePieceModel.read(folder / "tokenizer.model"))
    else:
        raise _missing(folder, "tokenizer.json", "tokenizer.model")
    _name_special(backend, names)
    lower_case(backend)
    end_with(backend, names["eos_token"])
    return Pipeline(backend, length, clean or "none")


def _plain(folder: Path, config: dict[str, Any], names: dict[str, str], length: int, clean: str | None) -> Pipeline:
    if not (folder / "tokenizer.json").is_file():
        raise _missing(folder, "tokenizer.json", "vocab.json with merges.txt", "spiece.model", "tokenizer.model")
    backend = _backend(folder / "tokenizer.json")
    if backend.padding:
        names.setdefault("pad_token", backend.padding["pad_token"])
    _name_special(backend, names)
    if config.get("add_eos_token") and "eos_token" in names:
        start = names.get("bos_token") if config.get("add_bos_token") else None
        end_with(backend, names["eos_token"], start=start)
    return Pipeline(backend, length, clean or "none")


# --- which kind, which names --------------------------------------------------------------


def _kind(folder: Path, config: dict[str, Any]) -> str:
    """The kind that a folder's own files speak of."""
    if "open_clip_tokenizer" in config:
        return "open_clip"
    named = _CLASSES.get(_class(config))
    model = str(_json(folder / "config.json").get("model_type", ""))
    if named is None and model in ("siglip", "siglip2"):
        named = "siglip2" if _is_gemma(folder, config) else model
    if named is None and model == "clip":
        named = "clip"
    if named is not None:
        return named
    if (folder / "tokenizer.json").is_file():
        return "plain"
    files = {"vocab.json": "clip", "merges.txt": "clip", "spiece.model": "siglip", "tokenizer.model": "siglip2"}
    return next((kind for name, kind in files.items() if (folder / name).is_file()), "plain")


def _is_gemma(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a SigLIP folder has SigLIP 2's tokenizer; its fixed-resolution models call themselves "siglip"."""
    if _class(config) in ("GemmaTokenizer", "Siglip2Tokenizer") or (folder / "tokenizer.model").is_file():
        return True
    if (folder / "spiece.model").is_file() or not (folder / "tokenizer.json").is_file():
        return False
    return isinstance(_backend(folder / "tokenizer.json").model, tokenizers.models.BPE)  # SigLIP's own is a unigram


def _class(config: dict[str, Any]) -> str:
    return str(config.get("tokenizer_class") or "").removesuffix("Fast")


def _checked(kind: str) -> str:
    if kind not in _DEFAULTS:
        known = ("auto", *_DEFAULTS)
        raise CheckpointError(f"the kind of tokenizer is {kind!r}, expected one of {', '.join(known)}")
    return kind


def _named(config: dict[str, Any]) -> dict[str, str]:
    """Special tokens that a settings file names; each is a string or an object with its content."""
    found = {name: config.get(name) for name in _SPECIAL}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in found.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _longest(config: dict[str, Any]) -> int | None:
    length = config.get("model_max_length")
    return int(length) if isinstance(length, int | float) and 0 < length < 1_000_000 else None


def _name_special(backend: tokenizers.Tokenizer, names: Mapping[str, str]) -> None:
    """Make the named special tokens ones that are found inside a text, as transformers does."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for name in names.values():
        if name not in known and backend.token_to_id(name) is not None:
            backend.add_special_tokens([tokenizers.AddedToken(name, special=True)])


def _finish(folder: Path, kind: str, pipeline: Pipeline | SiglipPipeline, names: dict[str, str]) -> Loaded:
    """Find the ids of padding and end of text, and check that texts really end."""
    vocabulary = pipeline.vocabulary
    (empty,) = pipeline.ids([""])
    last = empty[-1] if empty else None
    eos = vocabulary.get(names["eos_token"]) if "eos_token" in names else last
    if eos is None or last != eos:
        raise CheckpointError(
            f"{folder}: the tokenizer does not put its end-of-text token "
            f"({names.get('eos_token', 'none is named')!r}) behind a text: give its tokenizer.json a post_processor"
            " that does, and name the token in tokenizer_config.json"
        )
    pad_name = names.get("pad_token") or next((name for name in ("<pad>", "[PAD]") if name in vocabulary), None)
    pad = 0 if kind == "open_clip" or pad_name is None else vocabulary.get(pad_name)
    if pad is None:
        raise CheckpointError(f"{folder}: the padding token {pad_name!r} is not in the vocabulary")
    return Loaded(kind, pipeline, {name: text for name, text in names.items() if text in vocabulary}, pad, eos)


# --- files --------------------------------------------------------------------------------


def _shipped() -> tuple[dict[str, int], list[tuple[str, str]]]:
    packed = resources.files("anmok.texts").joinpath("data/clip_merges.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode().split("\n")[:-1]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = _byte_letters()
    pieces = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *(left + right for left, right in merges),
        _START,
        _END,
    ]
    return {piece: i for i, piece in enumerate(pieces)}, merges


def _byte_letters() -> list[str]:
    """A printable letter for each of the 256 bytes, the printable bytes first (`bytes_to_unicode` of GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _clip_files(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    if not (folder / "vocab.json").is_file() or not (folder / "merges.txt").is_file():
        raise _missing(folder, "tokenizer.json", "vocab.json with merges.txt")
    lines = _text(folder / "merges.txt").split("\n")
    pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None:
        raise CheckpointError(f"{folder / 'merges.txt'}: {' '.join(wrong)!r} is not a pair of pieces")
    return _json(folder / "vocab.json"), [(pair[0], pair[1]) for pair in pairs]


def _vocabulary_and_merges(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(text)["model"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return model["vocab"], [(pair[0], pair[1]) for pair in pairs]


def _backend(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception for whatever is wrong with the file
        raise CheckpointError(f"{path} is not a tokenizer that `tokenizers` can read: {error}") from error


def _whole(backend: tokenizers.Tokenizer) -> str:
    """tokenizer.json without the truncation of this process, as the public ones are."""
    copy = tokenizers.Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    return str(copy.to_str(pretty=True))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: download it again") from error


def _json(path: Path) -> dict[str, Any]:
    """A settings file, or {} where there is none."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON ({error}): download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object: download it again")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _missing(folder: Path, *names: str) -> MissingFile:
    return MissingFile(f"{folder} has no tokenizer: looked for {', '.join(names[:-1])} or {names[-1]}")
