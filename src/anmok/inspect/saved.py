"""An inspector as a folder: `inspector.json` says what it is, `memory.safetensors` holds the arrays.

The arrays are written first and the JSON carries their digest, so that a cut in between cannot go unseen.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from anmok.errors import FingerprintMismatch, InspectionError
from anmok.files import write_whole
from anmok.inspect.memory import Memory
from anmok.inspect.tiling import Tiling

if TYPE_CHECKING:
    from anmok.encoder import Encoder
    from anmok.inspect.inspector import Inspector

__all__ = ["load", "save"]

FORMAT = 1
FACTS, ARRAYS = "inspector.json", "memory.safetensors"
PLAIN = ("method", "threshold", "place_threshold", "false_alarms", "promised", "pictures", "places", "turned")


def save(inspector: Inspector, folder: str | Path) -> None:
    """Write an inspector, whole."""
    from anmok import __version__

    folder = Path(folder)
    memory = inspector.memory
    arrays = save_arrays({"features": memory.features, "spreads": memory.spreads, "good": inspector.good})
    facts = {
        "format": FORMAT,
        "anmok": __version__,
        "encoder": inspector.encoder.name,
        "fingerprint": inspector.encoder.fingerprint,
        **{name: getattr(inspector, name) for name in PLAIN},
        "kept": len(memory),
        "folds": list(memory.ends),
        "tiling": inspector.tiling.to_dict(),
        "arrays": hashlib.sha256(arrays).hexdigest(),
    }
    try:
        write_whole(folder / ARRAYS, arrays)
        write_whole(folder / FACTS, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise InspectionError(f"{folder}: cannot be written: {error.strerror or error}") from error


def load(folder: str | Path, encoder: Encoder) -> Inspector:
    """Read an inspector, and see that it is whole and of this encoder."""
    from anmok.inspect.inspector import Inspector

    folder = Path(folder)
    facts = _facts(folder)
    version = facts.get("anmok")
    if facts.get("format") != FORMAT:
        raise InspectionError(f"{folder} was written by another anmok ({version}): fit again, or update anmok")
    if facts.get("fingerprint") != encoder.fingerprint:
        raise FingerprintMismatch(
            f"{folder} was fitted with {facts.get('encoder')} ({facts.get('fingerprint')}), not with {encoder.name} "
            f"({encoder.fingerprint}): give that model, or fit again"
        )
    try:
        content = (folder / ARRAYS).read_bytes()
        if hashlib.sha256(content).hexdigest() != facts["arrays"]:
            raise InspectionError(f"{folder}: {ARRAYS} is damaged, or of another fit: fit again")
        arrays = load_arrays(content)
        return Inspector(
            encoder=encoder,
            memory=Memory(arrays["features"], tuple(facts["folds"]), arrays["spreads"]),
            good=np.asarray(arrays["good"], np.float32),
            tiling=Tiling.from_dict(facts["tiling"]),
            **{name: facts[name] for name in PLAIN},
        )
    except OSError as error:
        raise InspectionError(f"{folder}: {ARRAYS} cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InspectionError(f"{folder}: {FACTS} is damaged ({error}): fit again") from error


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InspectionError(f"{folder} is no inspector ({reason}): make one with `anmok inspect fit`") from error
    except ValueError as error:
        raise InspectionError(f"{folder}: {FACTS} is damaged ({error}): fit again") from error
    if not isinstance(facts, dict):
        raise InspectionError(f"{folder}: {FACTS} is damaged: fit again")
    return facts
