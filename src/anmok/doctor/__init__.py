"""What this machine can do, what is missing, and whether a loaded checkpoint is right."""

from anmok.doctor.checkpoint import examine_encoder
from anmok.doctor.engines import examine_engines
from anmok.doctor.finding import Finding
from anmok.doctor.machine import examine_machine

__all__ = ["Finding", "examine_encoder", "examine_engines", "examine_machine"]
