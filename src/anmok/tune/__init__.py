"""Tuning with examples of classes: the towers (LoRA, some layers, all of them), or the words before a class name.

Training needs PyTorch (extra `anmok[train]`); what comes out is an ordinary checkpoint, an adapter of kilobytes, or
one vector per class, and is used without.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "Adapter",
    "PromptSettings",
    "TowerSettings",
    "TuneError",
    "TunedTowers",
    "interpolate",
    "load_adapter",
    "merge",
    "save_adapter",
    "tune_prompts",
    "tune_towers",
    "unmerge",
]

_HOMES = {
    "Adapter": "adapter",
    "PromptSettings": "settings",
    "TowerSettings": "settings",
    "TuneError": "settings",
    "TunedTowers": "towers",
    "interpolate": "wise_ft",
    "load_adapter": "adapter_files",
    "merge": "adapter",
    "save_adapter": "adapter_files",
    "tune_prompts": "prompts",
    "tune_towers": "towers",
    "unmerge": "adapter",
}


def __getattr__(name: str) -> Any:
    """Bring a public name from its file when it is first used, so that adapters need no PyTorch (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anmok.tune' has no attribute {name!r}")
    value = getattr(import_module(f"anmok.tune.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
