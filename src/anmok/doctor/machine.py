"""What this machine can do: processor, memory, engines, picture formats, folders."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from anmok.doctor.finding import Finding
from anmok.processor import instruction_sets, processor_name, usable_cores
from anmok.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["examine_machine"]

OPTIONAL = (
    ("torch", "train", "the modules to read and train, engine='torch'"),
    ("openvino", "openvino", "a second engine, the faster one on many processors"),
    ("sklearn", "evaluate", "scoring on scikit-learn's handwritten digits"),
)


def examine_machine() -> list[Finding]:
    """Look at the machine and the installation. Loads no engine's weights and asks no network."""
    return [_python(), _processor(), _memory(), _engine(), *_formats(), *_extras(), _cache()]


def _python() -> Finding:
    from anmok import __version__

    return Finding("anmok", "ok", f"{__version__} on Python {platform.python_version()}, {platform.platform()}")


def _processor() -> Finding:
    sets = " ".join(instruction_sets()) or "no vector extensions"
    return Finding("processor", "ok", f"{processor_name()}, {usable_cores()} cores, {sets}")


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "ok", "not told by this system")
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Finding("memory", "ok", f"{gigabytes:.1f} GiB")


def _engine() -> Finding:
    try:
        return Finding("engine", "ok", f"ONNX Runtime {version('onnxruntime')}")
    except PackageNotFoundError:
        return Finding("engine", "missing", "ONNX Runtime: pip install onnxruntime; OpenVINO takes its place")


def _formats() -> list[Finding]:
    from PIL import features

    findings = []
    for name, feature in (("WebP", "webp"), ("AVIF", "avif")):
        there = features.check(feature)
        detail = "read" if there else "this build of Pillow cannot read it; JPEG, PNG, GIF, TIFF and BMP are read"
        findings.append(Finding(f"{name} pictures", "ok" if there else "missing", detail))
    heic = find_spec("pillow_heif") is not None
    findings.append(
        Finding(
            "HEIC pictures", "ok" if heic else "missing", "read" if heic else "pip install 'anmok[heic]' to read them"
        )
    )
    return findings


def _extras() -> list[Finding]:
    findings = []
    for library, extra, purpose in OPTIONAL:
        try:
            findings.append(Finding(library, "ok", version(library if library != "sklearn" else "scikit-learn")))
        except PackageNotFoundError:
            findings.append(Finding(library, "missing", f"only for {purpose}: pip install 'anmok[{extra}]'"))
    return findings


def _cache() -> Finding:
    home = settings().home
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        return Finding("cache", "wrong", f"{home} cannot be written: set ANMOK_HOME to a folder that can")
    space = "" if sys.platform == "win32" else f", {_free_gigabytes(nearest):.0f} GB free"
    return Finding("cache", "ok", f"{home}{space}")


def _free_gigabytes(folder: Path) -> float:
    import shutil

    return shutil.disk_usage(folder).free / 1e9
