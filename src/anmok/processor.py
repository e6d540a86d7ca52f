"""The processor: its name, the cores that may be used, what it can do."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["INSTRUCTION_SETS", "instruction_sets", "processor_name", "sums_8_bits_exactly", "usable_cores"]

# Instruction sets that decide how fast matrix products are, weakest first (NumPy's names for them).
INSTRUCTION_SETS = ("NEON", "ASIMD", "SVE", "AVX2", "FMA3", "AVX512F", "AVX512_ICL", "AVX512_SPR")


def processor_name() -> str:
    """What the processor calls itself."""
    return _told("model name") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use (a container often may use fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instruction_sets() -> list[str]:
    """Those of INSTRUCTION_SETS that it has, as NumPy found out when it was imported (the same on every system)."""
    features = _features()
    return [name for name in INSTRUCTION_SETS if features.get(name)]


def sums_8_bits_exactly() -> bool:
    """Whether products of 8-bit numbers are summed in 32 bits.

    x86 without VNNI sums two of them in 16 (vpmaddubsw), which is too few for 255 times 127 twice.
    """
    features = _features()
    return not features.get("SSE2") or bool(features.get("AVX512VNNI")) or "avx_vnni" in _told("flags").split()


def _features() -> dict[str, bool]:
    from importlib import import_module

    features: dict[str, bool] = import_module("numpy._core._multiarray_umath").__cpu_features__
    return features


def _told(name: str) -> str:
    """What Linux tells of the first processor; "" elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.split(":", 1)[0].strip() == name:
                return line.split(":", 1)[1].strip()
    return ""
