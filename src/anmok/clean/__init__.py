"""Cleaning of training pairs: what is broken, blank, blurred, said twice, or says nothing, is dropped with a reason.

clean(source, output)          pairs → cleaned shards, and a CleanReport of what was dropped and why
CleanSettings(...)             every threshold, and what to leave alone
open_held_out(paths)           pictures that nothing in the data may show
REASONS                        why something is dropped, in words for people
judge_text(text, settings)     the rules for texts by themselves
measure_quality(view(picture)) the measures of pictures by themselves
"""

from anmok.clean.held_out import HeldOut, open_held_out
from anmok.clean.quality import Quality, judge_picture, measure_quality, view
from anmok.clean.reasons import REASONS, Reason
from anmok.clean.report import CleanReport, Removed, Twin
from anmok.clean.run import clean
from anmok.clean.settings import CleanSettings
from anmok.clean.texts import judge_text

__all__ = [
    "REASONS",
    "CleanReport",
    "CleanSettings",
    "HeldOut",
    "Quality",
    "Reason",
    "Removed",
    "Twin",
    "clean",
    "judge_picture",
    "judge_text",
    "measure_quality",
    "open_held_out",
    "view",
]
