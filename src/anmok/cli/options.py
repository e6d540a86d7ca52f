"""Options that several commands share, under one name and with one explanation each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.errors import SettingsError

if TYPE_CHECKING:
    from anmok.encoder import Encoder

__all__ = [
    "DEFAULT_MODEL",
    "Collection",
    "Html",
    "Json",
    "Labels",
    "Model",
    "Pictures",
    "Templates",
    "Top",
    "expand",
    "open_encoder",
]

DEFAULT_MODEL = "anmok-mini"

Pictures = Annotated[
    list[str], typer.Argument(metavar="PICTURES", help="Picture files, or folders of them.", show_default=False)
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="anmok-mini, a folder, a hub id (google/siglip2-base-patch16-224) or open_clip's "
        "ViT-B-32/laion2b_s34b_b79k.",
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels",
        "-l",
        help="Labels: a,b,c or a text file (one a line), a CSV (label, synonyms, ko, parent) "
        "a label set made by `anmok labels`, or a recogniser made by `anmok adapt`.",
        show_default=False,
    ),
]
Templates = Annotated[
    str, typer.Option("--templates", help="Prompt templates: small, clip80, korean, none, or a text file.")
]
Collection = Annotated[
    Path,
    typer.Option("--collection", "-c", help="Folder of the collection, made by `anmok index`.", show_default=False),
]
Top = Annotated[int, typer.Option("--top", "-k", min=1, help="How many to show.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Html = Annotated[
    Path | None, typer.Option("--html", help="Also write a page to look at.", show_default=False, metavar="FILE")
]


def open_encoder(model: str, *, precision: str = "auto") -> Encoder:
    """Load the model that a command was given."""
    from anmok.loading import load

    return load(model, precision=precision)


def expand(pictures: list[str]) -> list[str]:
    """Files as they are, folders as the pictures inside them.

    Raises:
        SettingsError: a folder holds no pictures.
    """
    from anmok.pictures import find_pictures

    found: list[str] = []
    for item in pictures:
        if not Path(item).is_dir():
            found.append(item)
            continue
        inside = [str(path) for path in find_pictures(Path(item))]
        if not inside:
            raise SettingsError(f"{item}: no pictures in this folder")
        found += inside
    return found
