"""Bringing a collection up to date with a folder: what was added, changed, moved, removed.

The rows of the store are the only list of what is indexed: a row is a picture's path, its vector
and what is known of the file. A batch of files is one transaction, so after a kill every file is
either there whole or not at all, and the next run goes on with those that are not.
"""

from __future__ import annotations

from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok import progress
from anmok.collections.batch import FAILED, Batch, Entry, Failure, IndexReport, describe, file_of, user_metadata
from anmok.collections.contract import writing
from anmok.collections.folder import Content, FileGone, FileState, file_state, read_content, walk
from anmok.errors import PictureError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from anmok.encoder import Encoder
    from anmok.store import Item, Store

__all__ = ["FOLDERS", "FolderRun", "remove_folder"]

AHEAD = 2  # batches that are encoded at the same time
FOLDERS = "folders"  # the documents of the store that list the indexed folders


class FolderRun:
    """One run over one folder. In memory: the names and hashes of the files, and the contents of three batches.

    While the next files are read, up to AHEAD batches are encoded in threads of their own, so that one is decoded while
    the tower works on the other. They are written in order.
    """

    def __init__(self, store: Store, encoder: Encoder, folder: str | Path, *, verify: bool, retry: bool) -> None:
        self.store, self.encoder = store, encoder
        self.folder = Path(folder).resolve()
        self.root = self.folder.as_posix()
        self.verify, self.retry = verify, retry
        self.known: dict[str, tuple[FileState, str]] = {}  # the rows of this folder: state of the file, content
        self.key_of: dict[str, str] = {}  # content → a row, anywhere in the collection, that has it
        self.gone: dict[str, list[str]] = defaultdict(list)  # content → rows of this folder whose file is gone
        self.failed_before: dict[str, Any] = {}
        self.counts: dict[str, int] = defaultdict(int)
        self.failed: dict[str, str] = {}
        self.batch = Batch()
        self.ahead: deque[tuple[Batch, int, Future[None]]] = deque()  # not written yet

    def run(self) -> IndexReport:
        """Look at every file, write batch by batch, then remove what is gone."""
        walked = list(walk(self.folder, self._note_unlistable))
        self._load()
        self._guard_against_unmounted(walked)
        present = set(walked)
        for key, (_, content) in self.known.items():
            if key not in present and _is_gone(key):
                self.gone[content].append(key)
        with (
            progress.task("indexing pictures", len(walked)) as advance,
            ThreadPoolExecutor(AHEAD, "anmok-encode") as pool,
        ):
            for path in walked:
                before = len(self.batch)
                self._look_at(path)
                if len(self.batch) == before:
                    advance(1)  # nothing to do for it
                if self.batch.full:
                    self._hand_over(pool, advance)
            self._hand_over(pool, advance)
            self._write(advance)
        self._remove_gone(present)
        self.store.refresh_index()
        failed = tuple(Failure(picture, error) for picture, error in sorted(self.failed.items()))
        return IndexReport(**self.counts, failed=failed)

    # What was known before

    def _load(self) -> None:
        for keys, _, metadata in self.store.scan():
            for key, row in zip(keys, metadata, strict=True):
                self.key_of[row["hash"]] = key
                if file_of(row) == key and _is_inside(key, self.root):
                    self.known[key] = FileState(row["bytes"], row["mtime_ns"]), row["hash"]
        failures = self.store.documents(FAILED).items()
        self.failed_before = {key: row for key, row in failures if _is_inside(key, self.root)}

    def _guard_against_unmounted(self, walked: list[str]) -> None:
        """An empty folder on another disk than before is a mount point with nothing mounted, not a cleared folder."""
        folders, device = self.store.documents(FOLDERS), self.folder.stat().st_dev
        before: Any = folders.get(self.root, {})
        if not walked and self.known and before.get("device", device) != device:
            raise StoreError(
                f"{self.root} is empty and on another disk than before, while the collection has {len(self.known)} of"
                " its pictures: is the disk mounted? If they are really gone, use remove_folder"
            )
        with writing(self.store):
            folders[self.root] = {"device": device}

    def _note_unlistable(self, error: PictureError) -> None:
        self.failed[error.picture] = error.reason

    # One file

    def _look_at(self, path: str) -> None:
        known, failure = self.known.get(path), self.failed_before.get(path)
        try:
            if not self.verify:
                state = file_state(path)
                if known and known[0] == state and not failure:
                    self.counts["unchanged"] += 1
                    return
                if failure and not self.retry and FileState(failure["bytes"], failure["mtime_ns"]) == state:
                    self.failed[path] = failure["error"]
                    return
            content = read_content(path)
        except FileGone:
            if known:
                self.gone[known[1]].append(path)
        except PictureError as error:  # its content is unknown, so what the collection has of it stays
            self.failed[path] = error.reason
            self.batch.fail(path, error.reason)
        else:
            if failure and failure["hash"] == content.hash and not self.retry:  # touched, but the same bad content
                self.failed[path] = failure["error"]
                self.batch.fail(path, failure["error"], state=content.state, content=content.hash)
            else:
                self._take_in(path, content)

    def _take_in(self, path: str, content: Content) -> None:
        """Put a file into the batch, with the vector of a row that has the same content where there is one."""
        known = self.known.get(path)
        source: Item | Entry | None
        if known:
            before = self._row(path, known[1])
            source = before if known[1] == content.hash else None
            kind = "unchanged" if source else "changed"
        else:
            before = source = self._claim_moved(content.hash)
            kind = "moved" if source else "added"
        given = user_metadata(before.metadata) if before else {}
        entry = Entry(path, kind, describe(path, self.root, content.state, content.hash, given))
        if kind == "moved" and before:
            entry.moved_from = before.key
        if source is None and content.hash not in self.batch.fresh:
            source = self._row(self.key_of.get(content.hash), content.hash) or self._encoded(content.hash)
        if source is None:
            self.batch.add_fresh(entry, content.data)
            return
        entry.vector = source.vector
        entry.metadata |= {name: source.metadata[name] for name in ("width", "height")}
        self.batch.entries.append(entry)

    def _claim_moved(self, content: str) -> Item | None:
        """The row of a file that is gone from this folder and had the same content. Each is claimed once."""
        while self.gone.get(content):
            row = self._row(self.gone[content].pop(), content)
            if row is not None:
                return row
        return None

    def _encoded(self, content: str) -> Entry | None:
        """The entry of a batch that is not written yet and has this content; waits for its vector."""
        for batch, _, encoded in self.ahead:
            if content in batch.fresh:
                encoded.result()
                same = (entry for entry in batch.entries if entry.metadata["hash"] == content)
                return next((entry for entry in same if entry.vector is not None), None)
        return None

    def _row(self, key: str | None, content: str) -> Item | None:
        """A row as it is in the store now, if it still has this content."""
        item = None if key is None else self.store.get([key])[0]
        return item if item is not None and item.metadata["hash"] == content else None

    # Writing

    def _hand_over(self, pool: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
        """Encode the batch in a thread, once there is one free."""
        self._write(advance, leave=AHEAD - 1)
        self.ahead.append((self.batch, len(self.batch), pool.submit(self.batch.encode, self.encoder, advance)))
        self.batch = Batch()

    def _write(self, advance: Callable[[int], None], *, leave: int = 0) -> None:
        """Write what was handed over first, until `leave` batches are left."""
        while len(self.ahead) > leave:
            batch, pictures, encoded = self.ahead.popleft()
            encoded.result()
            for entry in batch.write(self.store):
                self.counts[entry.kind] += 1
                self.key_of[entry.metadata["hash"]] = entry.key
            self.failed |= {key: row["error"] for key, row in batch.failed.items()}
            advance(pictures)

    def _remove_gone(self, present: set[str]) -> None:
        gone = [key for keys in self.gone.values() for key in keys]
        forgotten = [key for key in self.failed_before if key not in present and _is_gone(key)]
        if gone or forgotten:
            with writing(self.store):
                self.counts["removed"] += self.store.delete(gone)
                self.store.documents(FAILED).delete([*forgotten, *gone])


def remove_folder(store: Store, folder: str | Path) -> int:
    """Take a folder's pictures out of the collection; the files stay. Returns how many there were."""
    root = Path(folder).resolve().as_posix()
    keys = [key for key in store.keys(None) if _is_inside(key, root)]
    failures = [key for key in store.documents(FAILED) if _is_inside(key, root)]
    folders = [name for name in store.documents(FOLDERS) if name == root or _is_inside(name, root)]
    if not keys and not failures and not folders:
        raise StoreError(f"{store.path} has nothing of {root}. Its folders: {', '.join(store.documents(FOLDERS))}")
    with writing(store):
        store.documents(FAILED).delete(failures)
        store.documents(FOLDERS).delete(folders)
        return store.delete(keys)


def _is_inside(key: str, root: str) -> bool:
    return key.startswith(root.rstrip("/") + "/")


def _is_gone(path: str) -> bool:
    """Whether a file is really not there, and not merely in a folder that cannot be listed now."""
    try:
        file_state(path)
        # on Windows and macOS a file that was renamed from A.jpg to a.jpg still answers to A.jpg
        return Path(path).name not in [entry.name for entry in Path(path).parent.iterdir()]
    except FileGone:
        return True
    except (PictureError, OSError):
        return Path(path).is_dir()
