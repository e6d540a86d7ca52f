"""`anmok embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli import options
from anmok.cli.output import emit, finish, say, show_progress
from anmok.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from anmok.embeddings import Embeddings

__all__ = ["embed"]


def embed(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write: .npy, .npz or .parquet.", show_default=False)
    ],
    pictures: Annotated[
        list[str] | None, typer.Argument(metavar="[PICTURES]", help="Picture files, or folders of them.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="A text file instead: one text a line.", show_default=False)
    ] = None,
    model: options.Model = "anmok-mini",
    json: options.Json = False,
) -> None:
    """Write the embeddings of pictures or texts, one row each.

    \b
    anmok embed photos/ --output photos.npz      vectors, names, fingerprint
    anmok embed --texts names.txt --output names.npy
    """
    if bool(pictures) == (texts is not None):
        raise SettingsError("give either PICTURES or --texts FILE")
    if output.suffix not in WRITERS:
        raise SettingsError(f"--output {output}: expected a name that ends in {', '.join(WRITERS)}")
    names = _lines(texts) if texts is not None else options.expand(pictures or [])
    with show_progress():
        encoder = options.open_encoder(model)
        embedded = encoder.encode_text(names) if texts is not None else encoder.encode_image(names, on_error="skip")
    output.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[output.suffix](embedded, [names[index] for index in embedded.indices], output)
    for failure in embedded.failed:
        if json:
            emit({"picture": failure.picture, "error": failure.error})
        else:
            say(f"{failure.picture}: {failure.error}")
    if json:
        emit({"output": str(output), "rows": len(embedded), "fingerprint": embedded.fingerprint})
    else:
        say(f"{len(embedded)} rows of {encoder.dimension} numbers in {output}")
    finish(len(embedded.failed))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--texts {path}: {error}") from error


def _npy(embedded: Embeddings, names: list[str], output: Path) -> None:
    import numpy as np

    np.save(output, embedded.vectors)


def _npz(embedded: Embeddings, names: list[str], output: Path) -> None:
    import numpy as np

    np.savez(output, vectors=embedded.vectors, names=np.array(names), fingerprint=embedded.fingerprint)


def _parquet(embedded: Embeddings, names: list[str], output: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "writing .parquet") from error
    vectors = pyarrow.FixedSizeListArray.from_arrays(embedded.vectors.ravel(), embedded.vectors.shape[1])
    rows = pyarrow.table({"name": names, "embedding": vectors})
    stamped = rows.replace_schema_metadata({"anmok.fingerprint": embedded.fingerprint})
    pyarrow.parquet.write_table(stamped, output)


WRITERS = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
