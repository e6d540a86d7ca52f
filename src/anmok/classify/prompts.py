"""Labels → texts → one embedding per label: prompt ensembling, as in the CLIP paper.

Radford et al. 2021 (arXiv 2103.00020), section 3.1.4: a label is written into several
templates ("a photo of a {}."), each text is encoded to a unit vector, and the label's
embedding is their mean, scaled to length 1. Synonyms and the Korean name join the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmok.embeddings import Embeddings, unit
from anmok.errors import LabelError
from anmok.texts.templates import TEMPLATES, load_templates, prompts

if TYPE_CHECKING:
    from anmok.classify.labels import Label
    from anmok.encoder import Encoder

__all__ = ["Templates", "encode_labels", "resolve_templates"]

Templates = str | Path | Sequence[str]


def resolve_templates(templates: Templates) -> tuple[str, ...]:
    """Templates by name ("none", "small", "clip80", "korean"), from a file, or as a list.

    The 80 of the CLIP paper are English; the Korean ones join them for labels in Hangul.

    Raises:
        LabelError: an unknown name, a file that cannot be read, or a template without `{}`.
    """
    if isinstance(templates, (str, Path)):
        loaded = tuple(load_templates(templates))
        return (*loaded, *TEMPLATES["korean"]) if templates == "clip80" else loaded
    given = tuple(templates)
    if not given:
        raise LabelError("there are no templates: give at least one, such as '{}'")
    for template in given:
        if "{}" not in template:
            raise LabelError(f"template {template!r} has no place for the label: write {{}} where the label goes")
    return given


def encode_labels(encoder: Encoder, labels: Iterable[Label], templates: Sequence[str]) -> Embeddings:
    """One unit vector per label: the mean over its names and templates. Equal texts are encoded once.

    Returns:
        Embeddings [m, d].
    """
    texts = [list(dict.fromkeys(text for name in label.texts for text in prompts(templates, name))) for label in labels]
    distinct = list(dict.fromkeys(text for group in texts for text in group))
    encoded = encoder.encode_text(distinct)
    row_of = {text: row for row, text in enumerate(distinct)}
    means = [encoded.vectors[[row_of[text] for text in group]].mean(axis=0) for group in texts]
    return Embeddings(unit(np.array(means).reshape(len(texts), -1)), encoded.fingerprint)
