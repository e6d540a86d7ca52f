"""A small encoder that sees colors, and folders of small pictures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from anmok.embeddings import Embeddings, Failure, unit
from anmok.errors import PictureError
from anmok.pictures import read

if TYPE_CHECKING:
    from pathlib import Path

COLORS = {
    "red": (230, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40),
    "black": (5, 5, 5), "white": (250, 250, 250), "빨간": (230, 30, 30), "파란": (40, 60, 220),
}  # fmt: skip


class FakeEncoder:
    """Pictures → their 3 x 3 thumbnail; words → the thumbnail of a picture in the colors they name.

    Every encoded picture is a line in `log`, so that tests can count. `die_at` kills the process for
    real before that many pictures are encoded.
    """

    precision = "fp32"

    def __init__(self, log: Path | None = None, *, version: str = "1", die_at: int | None = None) -> None:
        self.log, self.version, self.die_at, self.encoded = log, version, die_at, 0
        self.name, self.fingerprint, self.dimension = f"colors-{version}", f"fake{version}" * 3, 28

    def reads(self, texts) -> bool:
        return True

    def encode_image(self, pictures, *, on_error="raise", batch_size=32) -> Embeddings:
        rows, indices, failed = [], [], []
        for index, picture in enumerate(pictures):
            try:
                image = read(picture)
            except PictureError as error:
                if on_error == "raise":
                    raise
                failed.append(Failure(index, error.picture, error.reason))
                continue
            self.encoded += 1
            if self.die_at is not None and self.encoded > self.die_at:
                os.kill(os.getpid(), 9)
            if self.log:
                with self.log.open("a") as file:
                    file.write(f"{image.getpixel((0, 0))}\n")
            rows.append(self._see(image))
            indices.append(index)
        vectors = np.stack(rows) if rows else np.empty((0, self.dimension), np.float32)
        return Embeddings(vectors, self.fingerprint, np.array(indices, np.int64), tuple(failed))

    def encode_text(self, texts) -> Embeddings:
        listed = [texts] if isinstance(texts, str) else texts
        return Embeddings(np.stack([self._imagine(text) for text in listed]), self.fingerprint)

    def _see(self, image: Image.Image):
        thumbnail = np.asarray(image.resize((3, 3), Image.Resampling.BOX), np.float32).ravel() / 127.5 - 1
        vector = np.append(thumbnail, np.float32(0.1))
        return unit(vector[None] if self.version == "1" else vector[None, ::-1])[0]

    def _imagine(self, text: str):
        named = [COLORS[word] for word in text.split() if word in COLORS] or [(128, 120, 128)]
        color = tuple(int(value) for value in np.mean(named, axis=0))
        return self._see(Image.new("RGB", (3, 3), color))


@pytest.fixture
def encoder_type():
    return FakeEncoder


@pytest.fixture
def encoder(tmp_path):
    return FakeEncoder(tmp_path / "encoded.log")


@pytest.fixture
def encodings(tmp_path):
    """How many pictures were encoded so far, by whatever process."""
    log = tmp_path / "encoded.log"
    return lambda: len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def paint():
    """Write a picture of one color (a name, or (r, g, b))."""

    def write(path: Path, color="red", size=(12, 8)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, COLORS.get(color, color)).save(path)
        return path

    return write


@pytest.fixture
def photos(tmp_path, paint):
    """A folder: a red and a blue bag, a green tree, a yellow sun."""
    folder = tmp_path / "photos"
    paint(folder / "bags" / "a.png", "red")
    paint(folder / "bags" / "b.png", "blue", (8, 20))
    paint(folder / "tree.jpg", "green")
    paint(folder / "sun.png", "yellow")
    return folder
