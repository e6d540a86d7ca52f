"""The fingerprint of a checkpoint: what makes two embeddings comparable.

    SHA-256( spec · transform · tokenizer digest · SHA-256(weights) )

Weights are hashed one array at a time (name, type, shape, bytes), in bounded memory. Hashing
gigabytes takes seconds, so the digest of large files is remembered in `ANMOK_HOME`, under
their paths, sizes and times of change.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from anmok.checkpoints.checkpoint import Checkpoint
    from anmok.models.spec import DualSpec

__all__ = ["fingerprint"]

VERSION = 1  # of what is hashed, and how
LENGTH = 32  # hex characters
REMEMBERED_FROM = 100_000_000  # bytes; smaller files are hashed each time
CHUNK = 1 << 20
CACHE = "fingerprints.json"


def fingerprint(checkpoint: Checkpoint) -> str:
    """Fingerprint of spec, transform, tokenizer and weights: 32 hex characters.

    It does not depend on the layout, file names or shards that the weights came in.
    """
    parts = {
        "version": VERSION,
        "spec": asdict(checkpoint.spec),
        "transform": checkpoint.transform.to_dict(),
        "tokenizer": checkpoint.tokenizer.digest(),
        "weights": _weights_digest(checkpoint),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:LENGTH]


def _weights_digest(checkpoint: Checkpoint) -> str:
    if checkpoint.exports is not None:
        files: tuple[Path, ...] = _with_external_data(checkpoint.exports.image, checkpoint.exports.text)
    else:
        files = getattr(checkpoint.weights, "files", ())
    key = _key(files, checkpoint.spec)
    remembered = _read_cache() if key else {}
    if key in remembered:
        return remembered[key]
    digest = _hash_files(files) if checkpoint.exports is not None else _hash_arrays(checkpoint)
    if key:
        _remember(key, digest)
    return digest


def _hash_arrays(checkpoint: Checkpoint) -> str:
    digest = sha256()
    for name in sorted(checkpoint.weights):
        array = np.asarray(checkpoint.weights[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)  # the same on every machine
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _hash_files(files: Iterable[Path]) -> str:
    digest = sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _with_external_data(*models: Path) -> tuple[Path, ...]:
    """The ONNX files and, where a model is large, the data file that lies beside it."""
    beside = [model.with_name(f"{model.name}_data") for model in models]
    return tuple(file for file in (*models, *beside) if file.is_file())


def _key(files: tuple[Path, ...], spec: DualSpec) -> str:
    """Names the state of these files, or nothing where they are small enough to hash each time."""
    states: list[Any] = [VERSION, asdict(spec)]  # the spec says how the files are read
    total = 0
    for file in files:
        state = file.stat()
        total += state.st_size
        states.append([str(file.resolve()), state.st_size, state.st_mtime_ns])
    return sha256(json.dumps(states).encode()).hexdigest() if total >= REMEMBERED_FROM else ""


def _read_cache() -> dict[str, str]:
    try:
        content = json.loads((settings().home / CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # not there yet, or cut: it is rebuilt
    return content if isinstance(content, dict) else {}


def _remember(key: str, digest: str) -> None:
    """Add to the cache; a cache that cannot be written only costs time."""
    home = settings().home
    temporary = home / f"{CACHE}.{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({**_read_cache(), key: digest}, indent=0), encoding="utf-8")
        temporary.replace(home / CACHE)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
