"""What was measured and converted for a checkpoint on this machine, kept under `ANMOK_HOME/towers`.

    KEY/image.json              how the picture tower is run, with what was measured
    KEY/image int8 0.25/        a converted graph: graph.onnx and graph.onnx.data

KEY is of fingerprint, versions, processor and threads: after an upgrade or on another machine everything is found out
anew. All of it can be deleted at any time. Files and folders appear whole or not at all, so that processes may share
them; a cache that cannot be written is no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.files import write_whole
from anmok.processor import instruction_sets, processor_name, usable_cores
from anmok.settings import settings

if TYPE_CHECKING:
    from anmok.models.graphs import Graph

__all__ = ["converted", "folder_of", "keep_graph", "made_with", "read_record", "write_record"]

PACKAGES = ("anmok", "onnxruntime", "openvino", "torch")


def made_with(fingerprint: str, threads: int) -> dict[str, str]:
    """What a measurement holds for: checkpoint, versions, processor, threads."""
    versions = {package: _version(package) for package in PACKAGES}
    return {
        "fingerprint": fingerprint,
        "processor": " ".join([processor_name(), *instruction_sets()]),  # some clouds call all of theirs the same
        "threads": str(threads or usable_cores()),
        **versions,
    }


def folder_of(made: dict[str, str]) -> Path:
    """Where what holds for this is kept."""
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:8]
    return settings().home / "towers" / f"{made['fingerprint']}-{digest}"


def read_record(file: Path) -> dict[str, Any] | None:
    """The content of a JSON file, or None where there is none or it is damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_record(file: Path, content: dict[str, Any]) -> None:
    """Keep a JSON file."""
    with contextlib.suppress(OSError):  # it is a cache
        write_whole(file, json.dumps(content, indent=1).encode())


def converted(folder: Path, name: str) -> Path | None:
    """The file of a converted graph that was kept."""
    file = folder / name / "graph.onnx"
    return file if file.is_file() else None


def keep_graph(folder: Path, name: str, graph: Graph) -> None:
    """Keep a converted graph. Where another process was quicker, its graph stays: they are the same."""
    part = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder, suffix=".part"))
        graph.save(part / "graph.onnx")
        part.rename(folder / name)
    except OSError:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
