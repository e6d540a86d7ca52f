"""Texts: strings to token ids, prompt templates, and which scripts a tokenizer can carry."""

from anmok.texts.scripts import (
    UnsupportedScript,
    UnsupportedScriptWarning,
    unsupported_scripts,
    warn_unsupported_scripts,
)
from anmok.texts.templates import TEMPLATES, fill, load_templates, prompts
from anmok.texts.tokenizer import Tokenizer

__all__ = [
    "TEMPLATES",
    "Tokenizer",
    "UnsupportedScript",
    "UnsupportedScriptWarning",
    "fill",
    "load_templates",
    "prompts",
    "unsupported_scripts",
    "warn_unsupported_scripts",
]
