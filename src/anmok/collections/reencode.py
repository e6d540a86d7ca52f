"""Moving a collection to another encoder: a new store grows beside the old one and takes its place when whole.

    NAME.anmok             in use until the end
    NAME.anmok.re-encode   grows; a run that was cut short goes on with it
    NAME.anmok.replaced    the old one, for the moment between the two renames
    NAME.anmok.discarded   an unfinished move to another encoder, for the moment until it is deleted

The old store is marked as retired in the transaction before the renames: a process that still has
it open reads on, and is refused when it writes. `finish_swap` completes what a kill left half done.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from anmok import progress
from anmok.collections.batch import (
    FAILED,
    OWN_FIELDS,
    Batch,
    Entry,
    Failure,
    IndexReport,
    describe,
    file_of,
    user_metadata,
)
from anmok.collections.comparison import compare
from anmok.collections.contract import contract_of, is_retired, require_encoder, retire, writing
from anmok.collections.folder import FileGone, FileState, file_state, read_content
from anmok.collections.indexing import FOLDERS
from anmok.errors import FingerprintMismatch, PictureError, StoreError
from anmok.files import sync_folder
from anmok.store import Store
from anmok.store.database import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from anmok.collections.comparison import Comparison
    from anmok.encoder import Encoder
    from anmok.store import Item

__all__ = ["finish_swap", "re_encode"]


def re_encode(
    store: Store,
    encoder: Encoder,
    *,
    check: Callable[[Comparison], bool] | None = None,
    discard: bool = False,
) -> tuple[IndexReport, bool]:
    """Build a collection anew with another encoder and put it in place, which closes `store`.

    See `Collection.re_encode`. Returns the report, and whether the new one is in place.
    """
    _require_files(store)
    fresh = _open_sibling(store, encoder, discard=discard)
    try:
        file = _identity(fresh.path)
        move = _Move(store, fresh, encoder)
        with progress.task("encoding anew", len(store)) as advance:
            move.follow(advance)
        move.drop_lost()
        fresh.refresh_index()
        switch = check is None or check(compare(store, fresh))
        if switch:
            with writing(store):  # no other process writes from here on
                move.follow(lambda _: None)
                move.drop_lost()
                move.copy_lists()
                _require_same(fresh.path, file)
                retire(store, encoder)
    finally:
        fresh.close()
    if switch:
        path = store.path
        store.close()
        finish_swap(path)
    failed = tuple(Failure(*row) for row in sorted(move.failed.items()))
    return IndexReport(changed=move.encoded, failed=failed), switch


def finish_swap(path: Path) -> None:
    """Complete a swap that was cut short between its steps; does nothing where there is none.

    Raises:
        StoreError: the system does not let the folders be renamed (Windows: another process has it open).
    """
    sibling, replaced = _sibling(path), _replaced(path)
    try:
        if (path / DATABASE).exists() and sibling.exists() and not replaced.exists() and _was_retired(path):
            path.rename(replaced)
        if replaced.exists() and not path.exists() and sibling.exists():
            sibling.rename(path)
            sync_folder(path.parent)
        if replaced.exists() and not path.exists():  # two processes finished it at once, and met
            replaced.rename(path)
        if replaced.exists() and (path / DATABASE).exists():
            shutil.rmtree(replaced, ignore_errors=True)
    except FileNotFoundError:  # another process finished it at the same moment
        return
    except OSError as error:
        raise StoreError(
            f"{path} is encoded anew, but cannot be put in place ({error}): close what has it open, and open it again"
        ) from error


class _Move:
    """Brings the rows of the old store into the new one. May be run again at any time: it does what is left."""

    def __init__(self, old: Store, new: Store, encoder: Encoder) -> None:
        self.old, self.new, self.encoder = old, new, encoder
        self.encoded = 0
        self.failed: dict[str, str] = {}
        self._batch = Batch()

    def follow(self, advance: Callable[[int], None]) -> None:
        """Every row that the new store lacks, or has of another state of its file."""
        self.failed.clear()
        for keys, _, metadata in self.old.scan(batch=256):
            for key, row, done in zip(keys, metadata, self.new.get(keys), strict=True):
                self._take_in(key, row, done)
                if self._batch.full:
                    self._commit(advance)
            advance(len(keys))
        self._commit(advance)

    def drop_lost(self) -> None:
        """Rows that the old store lost meanwhile."""
        kept = set(self.old.keys(None))
        self.new.delete([key for key in self.new.keys(None) if key not in kept])

    def copy_lists(self) -> None:
        """What is not encoded: the lists of folders and failures."""
        with self.new.transaction():
            self.new.documents(FOLDERS).update(self.old.documents(FOLDERS))
            failures = dict(self.old.documents(FAILED).items())
            self.new.documents(FAILED).update({key: row for key, row in failures.items() if key not in self.new})

    def _take_in(self, key: str, row: Mapping[str, Any], done: Item | None) -> None:
        file = file_of(row)
        if file is None:
            raise StoreError(f"{key!r} came from memory and was added meanwhile: delete it and run this again")
        given, failure = user_metadata(row), self._failure(key) if done is None else None
        try:
            state = file_state(file)
            if done is not None and _state(done.metadata) == state:
                if user_metadata(done.metadata) != given:
                    own = {name: done.metadata[name] for name in OWN_FIELDS}
                    self._batch.entries.append(Entry(key, "unchanged", {**own, **given}, done.vector))
                return
            if failure is not None and _state(failure) == state:
                self.failed[key] = failure["error"]
                return
            content = read_content(file)
        except FileGone:
            self._batch.fail(key, "there is no such file any more")
        except PictureError as error:
            self._batch.fail(key, error.reason)
        else:
            described = describe(file, row["root"], content.state, content.hash, given)
            self._batch.add_fresh(Entry(key, "changed" if done else "added", described), content.data)

    def _failure(self, key: str) -> dict[str, Any] | None:
        record: dict[str, Any] | None = self.new.documents(FAILED).get(key)
        return record

    def _commit(self, advance: Callable[[int], None]) -> None:
        batch, self._batch = self._batch, Batch()
        batch.encode(self.encoder, advance)
        self.encoded += sum(entry.kind != "unchanged" for entry in batch.write(self.new))
        self.failed |= {key: row["error"] for key, row in batch.failed.items()}


def _state(record: Mapping[str, Any]) -> FileState:
    return FileState(record["bytes"], record["mtime_ns"])


def _require_files(store: Store) -> None:
    """Every picture must be at hand before the work begins."""
    from_memory = store.keys({"root": None})
    if from_memory:
        raise StoreError(
            f"{len(from_memory)} pictures of {store.path} came from memory and cannot be read again (the first is"
            f" {from_memory[0]!r}): delete them, encode anew, and add them again"
        )
    for folder in store.documents(FOLDERS):
        if not Path(folder).is_dir():
            raise StoreError(f"the folder {folder} is not there: bring it back, or take it out with remove_folder")


def _open_sibling(store: Store, encoder: Encoder, *, discard: bool) -> Store:
    path = _sibling(store.path)
    if (path / DATABASE).exists():
        fresh = Store.open(path)
        try:
            require_encoder(fresh, encoder)
        except FingerprintMismatch as error:
            fresh.close()
            if not discard:
                raise FingerprintMismatch(
                    f"an unfinished move to {fresh.contract['encoder']!r} is at {path}: finish it with that encoder,"
                    " or throw it away (discard=True, or delete that folder)"
                ) from error
            _discard(store)
        else:
            return fresh
    return Store.open(path, dimension=encoder.dimension, create=True, contract=contract_of(encoder))


def _discard(store: Store) -> None:
    """Throw away what an unfinished move has built."""
    sibling, discarded = _sibling(store.path), store.path.with_name(store.path.name + ".discarded")
    with writing(store):  # so never while another process switches to it
        shutil.rmtree(discarded, ignore_errors=True)  # a kill left it
        try:
            sibling.rename(discarded)
        except OSError as error:
            raise StoreError(f"{sibling} cannot be thrown away ({error}): close what has it open") from error
    shutil.rmtree(discarded, ignore_errors=True)


def _identity(path: Path) -> tuple[int, int]:
    """Of the database file; no other file has it as long as this one is open."""
    state = (path / DATABASE).stat()
    return state.st_dev, state.st_ino


def _require_same(path: Path, file: tuple[int, int]) -> None:
    try:
        same = _identity(path) == file
    except OSError:
        same = False
    if not same:
        raise StoreError(f"another process threw away what was at {path}: run this again")


def _was_retired(path: Path) -> bool:
    with Store.open(path) as store:
        return is_retired(store)


def _sibling(path: Path) -> Path:
    return path.with_name(path.name + ".re-encode")


def _replaced(path: Path) -> Path:
    return path.with_name(path.name + ".replaced")
