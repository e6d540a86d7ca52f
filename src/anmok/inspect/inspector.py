"""Learn what good parts look like from good pictures alone, then find what is not like them, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from anmok import progress
from anmok.embeddings import Failure
from anmok.encoder import as_list
from anmok.errors import InspectionError, PictureError
from anmok.inspect import conformal
from anmok.inspect.conformal import Drift
from anmok.inspect.fitting import FEW, fit_few, fit_many
from anmok.inspect.heat import enlarge
from anmok.inspect.inspection import Inspection, find_boxes
from anmok.inspect.look import look, median_size, places_of_tile
from anmok.inspect.measure import measure
from anmok.inspect.tiling import Tiling
from anmok.pictures import picture_name, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.encoder import Encoder, Picture
    from anmok.feature_cache import FeatureCache
    from anmok.inspect.memory import Memory

__all__ = ["MAX_TILES", "Inspector"]

Method = Literal["patch memory", "few-shot"]

MAX_TILES = 16
BYTES = 2  # of a number in the memory


@dataclass(frozen=True, eq=False)
class Inspector:
    """What good parts look like to one encoder, and from which score on a picture is faulty.

    Made by `fit`, kept by `save`, opened by `load`.

    `method`: "patch memory", the places of many good pictures thinned out to those that stand for all (PatchCore, Roth
        et al. 2022, arXiv 2106.08265); or "few-shot" with at most FEW of them, all of their places, turned where that
        helps (AnomalyDINO, Damm et al. 2024, arXiv 2405.14529).
    `good`: scores of good pictures, as if the memory had not seen them, [n].
    `threshold`: a picture with a higher score is faulty. `place_threshold`: of the smoothed map.
    `false_alarms`: the rate that was wanted; `promised`: the rate that so many good pictures can promise, or None where
        there was only one (the threshold is then a guess).
    `pictures`, `places`: what was learned from. `turned`: whether turned copies joined the memory.
    `failed`: pictures that could not be used (of this fit; not kept by `save`).
    """

    encoder: Encoder
    method: Method
    tiling: Tiling
    memory: Memory
    good: NDArray[np.float32]
    threshold: float
    place_threshold: float
    false_alarms: float
    promised: float | None
    pictures: int
    places: int
    turned: bool = False
    failed: tuple[Failure, ...] = ()

    @classmethod
    def fit(
        cls,
        encoder: Encoder,
        pictures: Sequence[Picture],
        *,
        false_alarms: float = 0.01,
        memory_mib: float = 32,
        max_tiles: int = MAX_TILES,
        method: Method | None = None,
        seed: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        cache: FeatureCache | None = None,
    ) -> Inspector:
        """Learn from pictures of good parts.

        Args:
            encoder: from `anmok.load`.
            pictures: what `Encoder.encode_image` takes; all of one kind of part, taken alike.
            false_alarms: how often a good picture may be called faulty, 0..1. n good pictures can promise no less than
                1 / (n + 1); see `promised`.
            memory_mib: the memory never takes more, in MiB.
            max_tiles: looks at a picture at most; more see smaller faults and take longer.
            method: None chooses by the number of pictures.
            seed: of everything that is drawn.
            on_error: "skip" lists a bad picture in `failed`; "raise" raises.
            cache: of this encoder. Each picture is then encoded once, where it is otherwise twice, and not at all when
                another fit has seen it.

        Raises:
            InspectionError: there is no usable picture, or an option cannot be used.
            PictureError: a picture cannot be used (with on_error="raise").
        """
        items = list(pictures)
        _check(false_alarms, memory_mib, max_tiles)
        opened, failed = _open_few(items, most=FEW if method != "few-shot" else len(items))
        size = median_size(items) if opened is None else median_size(opened)
        if size is None:
            raise InspectionError(_nothing(failed))
        if method == "patch memory" and opened is not None and len(opened) < 2:
            raise InspectionError("a patch memory needs two good pictures or more: leave the method to anmok")
        source = cache or encoder
        cells, channels = places_of_tile(encoder)
        tiling = Tiling.choose(size, tile=encoder.checkpoint.transform.size, cells=cells, most=max_tiles)
        entries = int(memory_mib * 2**20) // (channels * BYTES)
        use = method or ("few-shot" if opened is not None else "patch memory")
        if use == "few-shot" and opened is not None:
            fitted = fit_few(source, [tiling.fit(one) for one in opened], tiling, entries=entries, seed=seed)
            fitted.failed = failed
        else:
            fitted = fit_many(source, items, tiling, entries=entries, false_alarms=false_alarms, seed=seed)
        if fitted.failed and on_error == "raise":
            raise PictureError(fitted.failed[0].picture, fitted.failed[0].error)
        return cls(
            encoder=encoder,
            method=use,
            tiling=tiling,
            memory=fitted.memory,
            good=fitted.scores,
            threshold=conformal.threshold(fitted.scores, false_alarms),
            place_threshold=conformal.threshold(fitted.peaks, false_alarms),
            false_alarms=false_alarms,
            promised=conformal.promised(len(fitted.scores), false_alarms) if fitted.calibrated else None,
            pictures=fitted.pictures,
            places=fitted.places,
            turned=fitted.turned,
            failed=tuple(fitted.failed),
        )

    def inspect(
        self, pictures: Picture | Sequence[Picture], *, on_error: Literal["raise", "skip"] = "raise"
    ) -> list[Inspection]:
        """Find what is unlike the good parts.

        Args:
            pictures: one, or a list of them.
            on_error: "skip" gives a bad picture an Inspection with its `error` set; "raise" raises.

        Returns:
            One Inspection per picture, in order.

        Raises:
            PictureError: a picture cannot be used (with on_error="raise").
        """
        items = as_list(pictures)
        found = []
        with progress.task("inspecting", len(items)) as advance:
            for index, picture, features in look(self.encoder, items, self.tiling):
                if isinstance(features, PictureError):
                    if on_error == "raise":
                        raise features
                    found.append(Inspection(features.picture, error=features.reason))
                elif picture is not None:
                    found.append(self._inspect(picture_name(items[index]), picture.size, features))
                advance(1)
        return found

    def drift(self, inspections: Sequence[Inspection]) -> Drift:
        """Whether the good state seems to have moved since the fit, from what was inspected. See `conformal.drift`."""
        scores = np.array([one.score for one in inspections if one.error is None], np.float32)
        if self.promised is None:
            return Drift(moved=False, p_value=1.0)
        return conformal.drift(scores, self.good, self.promised)

    def save(self, folder: str | Path) -> None:
        """Write `inspector.json` and `memory.safetensors` into a folder. What was there is replaced whole."""
        from anmok.inspect.saved import save

        save(self, folder)

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder) -> Inspector:
        """Open what `save` wrote.

        Raises:
            FingerprintMismatch: it was fitted with another encoder.
            InspectionError: there is none, it is damaged, or it is of a newer anmok.
        """
        from anmok.inspect.saved import load

        return load(folder, encoder)

    def _inspect(self, name: str, size: tuple[int, int], features: NDArray[np.float32]) -> Inspection:
        score, values = measure(self.memory, features)
        heat = enlarge(values, self.tiling.canvas) / np.float32(max(self.place_threshold, 1e-12))
        p = float(conformal.p_values(np.array([score], np.float32), self.good)[0])
        fault = bool(np.float32(score) > np.float32(self.threshold))
        return Inspection(
            picture=name,
            score=score,
            p_value=None if self.promised is None else p,
            fault=fault,
            boxes=find_boxes(heat, size) if fault else (),
            heat=heat,
            size=size,
        )


def _check(false_alarms: float, memory_mib: float, max_tiles: int) -> None:
    problems = []
    if not 0 < false_alarms < 1:
        problems.append(f"false_alarms is {false_alarms}, expected a share between 0 and 1, such as 0.01")
    if not memory_mib >= 1:
        problems.append(f"memory_mib is {memory_mib}, expected 1 or more")
    if max_tiles < 1:
        problems.append(f"max_tiles is {max_tiles}, expected 1 or more")
    if problems:
        raise InspectionError("; ".join(problems))


def _open_few(items: Sequence[Picture], *, most: int) -> tuple[list[Image.Image] | None, list[Failure]]:
    """All usable pictures where they are `most` or fewer, else None; and those that cannot be used."""
    opened: list[Image.Image] = []
    failed = []
    for index, item in enumerate(items):
        try:
            opened.append(read(item))
        except PictureError as error:
            failed.append(Failure(index, error.picture, error.reason))
        if len(opened) > most:
            return None, []
    return opened, failed


def _nothing(failed: Sequence[Failure]) -> str:
    if not failed:
        return "there are no pictures of good parts: give a folder that has some"
    return f"none of the {len(failed)} pictures can be read; the first: {failed[0].picture}: {failed[0].error}"
