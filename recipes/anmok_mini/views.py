"""Several variations of each picture, and what a picture teacher sees in every one of them.

The teacher is MobileNetV2 (ImageNet, 8 bits), `tf2_mobilenet_v2_1.0_224_ptq.tflite` of google-coral/test_data, under
Apache 2.0; it runs 170 pictures per second on one core. Student and teacher see the very same variation (Beyer et al.
2022, arXiv 2106.05237), so pictures are varied here, once, and not while training.

A linear map takes the teacher's 1,280 features to the sentence vectors of captions, fitted by ridge regression; each
picture's vector comes from a map that was fitted without it. So the picture teacher speaks the language of words: it
says where in the space of texts a picture belongs, also for things that no caption names.
"""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from anmok.pairs import Pair, open_pairs, write_shards
from anmok.pictures import read
from anmok.train.augment import augment
from anmok.train.recipe import AugmentConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 96  # pixels of a view, square
FEATURES = 1280
VIEWS = {  # variations of each picture, by source
    "grocery": 8, "kinds": 4, "clothing": 8, "trashnet": 8, "fashion_mnist": 8, "emoji": 6, "icons": 2,
    "openstax": 10, "storybook": 8, "recipes": 8,
}  # fmt: skip
VARIATION = AugmentConfig(scale=(0.35, 1.0), mirror=0.5, turn=12, color=0.3, gray=0.1, erase=0.2)
FOLDS = 5


def make_views(pairs: Path, output: Path, teacher: Path, *, seed: int) -> None:
    """Views of every source in `pairs` as `output/SOURCE/*.tar`, the teacher's features as `output/SOURCE.npz`.

    Sources that are not in `VIEWS` (drawn ones, which no teacher knows) are left as they are.
    """
    todo = [source for source in VIEWS if not (output / f"{source}.npz").exists()]
    with ProcessPoolExecutor() as pool:
        for source in pool.map(
            _make_views, todo, [pairs] * len(todo), [output] * len(todo), [teacher] * len(todo), [seed] * len(todo)
        ):
            print(f"views of {source} are made", flush=True)


def _make_views(source: str, pairs: Path, output: Path, teacher: Path, seed: int) -> str:
    sees = Teacher(teacher)
    features: list[NDArray[np.float16]] = []

    def views() -> Iterator[Pair]:
        for number, pair in enumerate(open_pairs(pairs / source)):
            if not isinstance(pair, Pair):
                continue
            picture = read(pair.picture)
            for view in range(VIEWS[source]):
                varied = augment(picture, VARIATION, np.random.default_rng((seed, number, view)))
                varied = varied.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                features.append(sees(varied))
                buffer = io.BytesIO()
                varied.save(buffer, "WEBP", quality=85, method=2)
                yield replace(pair, picture=buffer.getvalue(), facts={"of": number})

    write_shards(views(), output / source, prefix=source)
    np.savez(output / f"{source}.npz", features=np.array(features))
    return source


class Teacher:
    """MobileNetV2's pooled features of one picture, [1280]."""

    def __init__(self, file: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        # without all tensors kept, only the classes could be read
        self._model = Interpreter(str(file), num_threads=1, experimental_preserve_all_tensors=True)
        self._model.allocate_tensors()
        self._input = self._model.get_input_details()[0]["index"]
        (pooled,) = (
            tensor
            for tensor in self._model.get_tensor_details()
            if tensor["shape"].tolist() == [1, 1, 1, FEATURES] and "GlobalPool" in tensor["name"]
        )
        self._output, (self._scale, self._zero) = pooled["index"], pooled["quantization"]

    def __call__(self, picture: Image.Image) -> NDArray[np.float16]:
        large = picture.resize((224, 224), Image.Resampling.BILINEAR)
        self._model.set_tensor(self._input, np.asarray(large, np.uint8)[None])
        self._model.invoke()
        pooled = self._model.get_tensor(self._output).reshape(-1).astype(np.float32)
        return ((pooled - self._zero) * self._scale).astype(np.float16)


def place_in_texts(
    folder: Path, known: Mapping[str, NDArray[np.float32]], shares: Mapping[str, float], *, ridge: float = 2.5e-4
) -> tuple[list[str], NDArray[np.float32]]:
    """Names of all views, and where each belongs among the texts: unit vectors [n, d].

    Args:
        folder: what `make_views` wrote.
        known: the vectors of texts.
        shares: weight of each source.
        ridge: how strongly the map is held small, per view.
    """
    names: list[str] = []
    features, targets, weights, folds = [], [], [], []
    for source in VIEWS:
        with np.load(folder / f"{source}.npz") as saved:
            features.append(saved["features"])
        pairs = [pair for pair in open_pairs(folder / source) if isinstance(pair, Pair)]
        for pair in pairs:
            vectors = [known[text] for text in pair.texts if text in known][:3]
            names.append(pair.name)
            targets.append(np.mean(vectors, axis=0))
            weights.append(shares[source] / len(pairs))
            folds.append(pair.facts["of"] % FOLDS)
    seen = np.concatenate(features).astype(np.float32)
    seen = (seen - seen.mean(axis=0)) / (seen.std(axis=0) + 1e-3)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    target, weight, fold = np.array(targets, np.float32), np.array(weights, np.float32), np.array(folds)
    weight /= weight.mean()
    middle = np.average(target, axis=0, weights=weight)
    placed = np.empty_like(target)
    for number in range(FOLDS):
        rest = fold != number
        weighted = seen[rest] * weight[rest, None]
        square = weighted.T @ seen[rest] + ridge * rest.sum() * np.eye(FEATURES, dtype=np.float32)
        placed[~rest] = middle + seen[~rest] @ np.linalg.solve(square, weighted.T @ (target[rest] - middle))
    return names, placed / np.linalg.norm(placed, axis=1, keepdims=True)
