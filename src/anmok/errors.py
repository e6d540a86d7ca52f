"""Every error that anmok raises on purpose, in one tree.

    AnmokError
    ├── PictureError            one picture cannot be used: names it and says why
    ├── TextError               one text cannot be encoded
    ├── CheckpointError         a checkpoint cannot be loaded or saved
    │   ├── MissingFile         a file that the layout needs is not there
    │   ├── WeightsMismatch     weights are missing, unexpected or of another shape
    │   ├── UnsafePickle        a pickle asks for more than plain tensors
    │   └── HubUnreachable      the hub cannot be asked, and the cache does not have it
    ├── FingerprintMismatch     embeddings of two different encoders were brought together
    ├── StoreError              a store on disk
    │   ├── StoreDamaged        its database is damaged
    │   ├── StoreTooNew         written by a newer anmok
    │   ├── StoreBusy           another process is writing
    │   └── StoreFull           there is no room on the disk
    ├── LabelError              a label set, or a file of labels
    ├── QueryError              a search query or a filter cannot be read
    ├── InspectionError         an inspector cannot be fitted or opened
    ├── JobError                a long job of the service cannot be taken in or kept
    │   ├── UnknownJob          there is no such job
    │   └── JobConflict         another job is doing the same
    ├── SettingsError           an ANMOK_* variable or an option has a bad value
    └── MissingExtra            an optional library is needed

A message says what failed, why, and the way out. The command line prints it as it stands.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AnmokError",
    "CheckpointError",
    "FingerprintMismatch",
    "HubUnreachable",
    "InspectionError",
    "JobConflict",
    "JobError",
    "LabelError",
    "MissingExtra",
    "MissingFile",
    "PictureError",
    "QueryError",
    "SettingsError",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreTooNew",
    "TextError",
    "UnknownJob",
    "UnsafePickle",
    "WeightsMismatch",
    "did_you_mean",
]


class AnmokError(Exception):
    """Base of every error that anmok raises on purpose."""


class PictureError(AnmokError):
    """One picture cannot be used. `picture` names it, `reason` says why."""

    def __init__(self, picture: str, reason: str) -> None:
        super().__init__(f"{picture}: {reason}")
        self.picture = picture
        self.reason = reason

    def __reduce__(self) -> tuple[type[PictureError], tuple[str, str]]:
        return PictureError, (self.picture, self.reason)


class TextError(AnmokError):
    """A text cannot be encoded."""


class CheckpointError(AnmokError):
    """A checkpoint cannot be loaded or saved."""


class MissingFile(CheckpointError):
    """A file that the checkpoint's layout needs is not there."""


class WeightsMismatch(CheckpointError):
    """Weights are missing, unexpected or of another shape than the spec asks for."""


class UnsafePickle(CheckpointError):
    """A pickle asks for more than plain tensors; it was not run."""


class HubUnreachable(CheckpointError):
    """The hub cannot be asked, and its cache does not hold the checkpoint."""


class FingerprintMismatch(AnmokError):
    """Embeddings made by two different encoders were brought together."""


class StoreError(AnmokError):
    """A store on disk cannot do what was asked."""


class StoreDamaged(StoreError):
    """The database of a store is damaged."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of anmok."""


class StoreBusy(StoreError):
    """Another process is writing to the store."""


class StoreFull(StoreError):
    """There is no room on the store's disk; nothing of the change was kept."""


class LabelError(AnmokError):
    """A label set, or a file of labels, cannot be used."""


class QueryError(AnmokError):
    """A search query or a filter cannot be read."""


class InspectionError(AnmokError):
    """An inspector of parts cannot be fitted or opened."""


class JobError(AnmokError):
    """A long job of the service cannot be taken in or kept."""


class UnknownJob(JobError):
    """There is no such job, or no longer."""


class JobConflict(JobError):
    """Another job is doing the same; `job` is its id."""

    def __init__(self, job: str, state: str) -> None:
        super().__init__(f"job {job} is {state} and does the same: wait for it, or cancel it")
        self.job = job


class SettingsError(AnmokError):
    """An `ANMOK_*` variable or an option has a value that cannot be used."""


class MissingExtra(AnmokError, ImportError):
    """An optional library is needed. The message names the extra that brings it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed: pip install 'anmok[{extra}]'")
        self.library = library
        self.extra = extra


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The tail of a message: ` Did you mean 'x'?`, or nothing where no known name is near."""
    near = get_close_matches(given, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
