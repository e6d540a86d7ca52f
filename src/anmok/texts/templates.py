"""Prompt templates: sentences around a label, whose embeddings are averaged.

A template is a line with `{}` where the label goes. In a set that has templates of both
languages, a Korean label takes the Korean ones and any other label the rest, so that
`고양이` does not become "a photo of a 고양이.".

Korean particles that depend on the sound before them are written in both forms, as in
`{}을(를) 찍은 사진`, and the right one is chosen for each label.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.errors import LabelError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TEMPLATES", "fill", "load_templates", "prompts"]

_SMALL_KOREAN = ("{} 사진", "{}의 사진", "{} 이미지", "{}을(를) 찍은 사진")

TEMPLATES: dict[str, tuple[str, ...]] = {
    "none": ("{}",),
    "small": (
        "{}",
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of {}.",
        "a picture of a {}.",
        *_SMALL_KOREAN,
    ),
    # The 80 prompts for ImageNet of the CLIP paper (Radford et al. 2021, arXiv 2103.00020), as in
    # the notebook Prompt_Engineering_for_ImageNet of github.com/openai/CLIP.
    "clip80": (
        "a bad photo of a {}.",
        "a photo of many {}.",
        "a sculpture of a {}.",
        "a photo of the hard to see {}.",
        "a low resolution photo of the {}.",
        "a rendering of a {}.",
        "graffiti of a {}.",
        "a bad photo of the {}.",
        "a cropped photo of the {}.",
        "a tattoo of a {}.",
        "the embroidered {}.",
        "a photo of a hard to see {}.",
        "a bright photo of a {}.",
        "a photo of a clean {}.",
        "a photo of a dirty {}.",
        "a dark photo of the {}.",
        "a drawing of a {}.",
        "a photo of my {}.",
        "the plastic {}.",
        "a photo of the cool {}.",
        "a close-up photo of a {}.",
        "a black and white photo of the {}.",
        "a painting of the {}.",
        "a painting of a {}.",
        "a pixelated photo of the {}.",
        "a sculpture of the {}.",
        "a bright photo of the {}.",
        "a cropped photo of a {}.",
        "a plastic {}.",
        "a photo of the dirty {}.",
        "a jpeg corrupted photo of a {}.",
        "a blurry photo of the {}.",
        "a photo of the {}.",
        "a good photo of the {}.",
        "a rendering of the {}.",
        "a {} in a video game.",
        "a photo of one {}.",
        "a doodle of a {}.",
        "a close-up photo of the {}.",
        "a photo of a {}.",
        "the origami {}.",
        "the {} in a video game.",
        "a sketch of a {}.",
        "a doodle of the {}.",
        "a origami {}.",
        "a low resolution photo of a {}.",
        "the toy {}.",
        "a rendition of the {}.",
        "a photo of the clean {}.",
        "a photo of a large {}.",
        "a rendition of a {}.",
        "a photo of a nice {}.",
        "a photo of a weird {}.",
        "a blurry photo of a {}.",
        "a cartoon {}.",
        "art of a {}.",
        "a sketch of the {}.",
        "a embroidered {}.",
        "a pixelated photo of a {}.",
        "itap of the {}.",
        "a jpeg corrupted photo of the {}.",
        "a good photo of a {}.",
        "a plushie {}.",
        "a photo of the nice {}.",
        "a photo of the small {}.",
        "a photo of the weird {}.",
        "the cartoon {}.",
        "art of the {}.",
        "a drawing of the {}.",
        "a photo of the large {}.",
        "a black and white photo of a {}.",
        "the plushie {}.",
        "a dark photo of a {}.",
        "itap of a {}.",
        "graffiti of the {}.",
        "a toy {}.",
        "itap of my {}.",
        "a photo of a cool {}.",
        "a photo of a small {}.",
        "a tattoo of the {}.",
    ),
    "korean": (
        "{}",
        *_SMALL_KOREAN,
        "{} 그림",
        "{}의 모습",
        "{}이(가) 있는 사진",
        "{}이(가) 보이는 장면",
        "가까이에서 본 {}",
        "멀리서 찍은 {} 사진",
        "{} 사진 한 장",
    ),
}

# What stands behind `{}` in a template → (form after a consonant, form after a vowel).
_PARTICLES = {
    "을(를)": ("을", "를"),
    "은(는)": ("은", "는"),
    "이(가)": ("이", "가"),
    "과(와)": ("과", "와"),
    "(으)로": ("으로", "로"),
}
_PARTICLE = re.compile(r"\{\}(" + "|".join(map(re.escape, _PARTICLES)) + r")")
_DIGIT_FINALS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}  # of 영, 일, 삼, 육, 칠, 팔
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")


def fill(template: str, label: str) -> str:
    """One template with one label in it.

    >>> fill("{}을(를) 찍은 사진", "고양이")
    '고양이를 찍은 사진'
    """

    def with_particle(found: re.Match[str]) -> str:
        return "{}" + _particle(found[1], label)

    return _PARTICLE.sub(with_particle, template).replace("{}", label)


def prompts(templates: Sequence[str], label: str) -> list[str]:
    """The templates that suit the language of `label`, filled with it; no prompt twice.

    Where no worded template of the set is in that language, all of them are used.
    """
    korean = bool(_HANGUL.search(label))
    worded = [template for template in templates if re.search(r"\w", template)]
    same = [template for template in worded if bool(_HANGUL.search(template)) == korean]
    used = [template for template in templates if template in same or template not in worded] if same else templates
    return list(dict.fromkeys(fill(template, label) for template in used))


def load_templates(name_or_path: str | Path) -> tuple[str, ...]:
    """A set of templates by name (`TEMPLATES`), or from a text file.

    In a file each line is a template with `{}` where the label goes; empty lines and lines
    that start with `#` are skipped.

    Raises:
        LabelError: there is no such set or file, or lines of the file have no `{}` (all are named).
    """
    if str(name_or_path) in TEMPLATES:
        return TEMPLATES[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        raise LabelError(
            f"{str(name_or_path)!r} is neither a set of templates ({', '.join(TEMPLATES)}) nor a file."
            + did_you_mean(str(name_or_path), TEMPLATES)
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LabelError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    used = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    problems = [f"line {number} ({line!r})" for number, line in used if "{}" not in line]
    if problems:
        raise LabelError(f"{path}: a template needs {{}} where the label goes; it is missing in {', '.join(problems)}")
    if not used:
        raise LabelError(f"{path} has no template: write one a line, with {{}} where the label goes")
    return tuple(dict.fromkeys(line for _, line in used))


def _particle(written: str, label: str) -> str:
    """The form of a particle that fits the last sound of `label`; as written where the sound is not known."""
    after_consonant, after_vowel = _PARTICLES[written]
    last = label.rstrip()[-1:]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28  # 0: ends in a vowel, 8: in ㄹ
        closed, is_rieul = final > 0, final == 8
    elif last.isdecimal() and last.isascii():
        closed, is_rieul = last in _DIGIT_FINALS, _DIGIT_FINALS.get(last) == "ㄹ"
    else:
        return written
    if written == "(으)로" and is_rieul:
        return after_vowel
    return after_consonant if closed else after_vowel
