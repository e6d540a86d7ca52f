"""The processor: its name, the cores that may be used, what it can do."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["INSTRUCTION_SETS", "instruction_sets", "processor_name", "usable_cores"]

# Instruction sets that decide how fast matrix products are, weakest first (NumPy's names for them).
INSTRUCTION_SETS = ("NEON", "ASIMD", "SVE", "AVX2", "FMA3", "AVX512F", "AVX512_ICL", "AVX512_SPR")


def processor_name() -> str:
    """What the processor calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use (a container often may use fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instruction_sets() -> list[str]:
    """Those of INSTRUCTION_SETS that it has, as NumPy found out when it was imported (the same on every system)."""
    from importlib import import_module

    features: dict[str, bool] = import_module("numpy._core._multiarray_umath").__cpu_features__
    return [name for name in INSTRUCTION_SETS if features.get(name)]
