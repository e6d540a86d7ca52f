"""Checkpoints: the layouts of the world ↔ one form (spec, named arrays, transform, tokenizer)."""

from anmok.checkpoints.checkpoint import Checkpoint, ExportedGraphs
from anmok.checkpoints.fingerprint import fingerprint
from anmok.checkpoints.load import load_checkpoint
from anmok.checkpoints.recommended import RECOMMENDED, NonCommercialLicenseWarning, Recommended
from anmok.checkpoints.save import save_checkpoint

__all__ = [
    "RECOMMENDED",
    "Checkpoint",
    "ExportedGraphs",
    "NonCommercialLicenseWarning",
    "Recommended",
    "fingerprint",
    "load_checkpoint",
    "save_checkpoint",
]
