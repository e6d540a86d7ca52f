"""The collection: pictures of folders, their vectors on disk, and the search over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import scores
from anmok.collections import contract, duplicates
from anmok.collections.adding import put_pictures
from anmok.collections.batch import FAILED, Failure, IndexReport
from anmok.collections.hit import Hit, as_hits
from anmok.collections.indexing import FOLDERS, FolderRun, remove_folder
from anmok.collections.query import query_vector, terms_of
from anmok.collections.reencode import finish_swap, re_encode
from anmok.embeddings import Embeddings
from anmok.errors import StoreError
from anmok.store import Store
from anmok.store.database import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from anmok.collections.adding import Encoded
    from anmok.collections.comparison import Comparison
    from anmok.collections.duplicates import DuplicateGroup
    from anmok.encoder import Encoder, Picture
    from anmok.scores import Background, Terms
    from anmok.store import CheckReport, Item, StoreStats

__all__ = ["Collection", "CollectionStats"]

Metadata = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class CollectionStats:
    """Size and state of a collection. `store`: of the store below it."""

    pictures: int
    failed: int
    folders: tuple[str, ...]
    encoder: str
    fingerprint: str
    store: StoreStats


class Collection:
    """Pictures that can be searched by words, by pictures, and by both.

        >>> collection = Collection("pictures.anmok", encoder=anmok.load())
        >>> collection.add_folder("photos/")
        IndexReport(added=1200, unchanged=0, moved=0, changed=0, removed=0, failed=())
        >>> collection.search("a red bag", top=3)[0].path
        '/home/me/photos/bags/0042.jpg'

    It is a store (a folder) that remembers its encoder and refuses any other. A row is one picture
    file; its key is the absolute path. Several processes may read and write the same collection:
    writes take turns, a batch of pictures at a time.
    """

    def __init__(self, path: str | Path, *, encoder: Encoder | None = None, readonly: bool = False) -> None:
        """Open a collection; with an encoder, make it where there is none yet.

        Args:
            path: its folder, named `NAME.anmok` by custom.
            encoder: makes the vectors. Left out, the one that the collection was made with is loaded
                when it is first needed.
            readonly: never write, so that no right to write is needed.

        Raises:
            FingerprintMismatch: the collection was made with another encoder; names both and the way out.
            StoreError: there is no collection at `path` (and no encoder to make one with).
        """
        self._open(Path(path), encoder, readonly=readonly)

    def _open(self, path: Path, encoder: Encoder | None, *, readonly: bool) -> None:
        with suppress(StoreError) if readonly else nullcontext():
            finish_swap(path)
        if (path / DATABASE).exists():
            self._store = Store.open(path, readonly=readonly)
        elif encoder is None or readonly:
            raise StoreError(f"there is no collection at {path}: check the path, or make it with anmok index FOLDER")
        else:
            kept = contract.contract_of(encoder)
            self._store = Store.open(path, dimension=encoder.dimension, create=True, contract=kept)
        self._encoder = encoder
        self._background: Background | None = None
        try:
            contract.require_collection(self._store)
            if encoder is not None:
                contract.require_encoder(self._store, encoder)
        except BaseException:
            self._store.close()
            raise

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._store.path

    @property
    def contract(self) -> dict[str, Any]:
        """What made its vectors: encoder, fingerprint, dimension, precision, transform, tokenizer."""
        return dict(self._store.contract)

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded by the name in the contract if none was given.

        Raises:
            FingerprintMismatch: what has that name now is another encoder than the one that made the vectors.
            CheckpointError: it cannot be loaded.
        """
        if self._encoder is None:
            encoder = contract.load_encoder(self._store.contract)
            contract.require_encoder(self._store, encoder)
            self._encoder = encoder
        return self._encoder

    # Taking in

    def add_folder(self, folder: str | Path, *, verify: bool = False, retry: bool = False) -> IndexReport:
        """Bring the collection up to date with a folder and everything below it.

        Files whose size and time of change are as before are not read. Others are told by a hash of
        their content: a moved file takes its row along, a copy takes over the vector, and only new
        content is encoded. Rows are removed only where they stand for a file of this folder that is
        gone. Work is committed in batches; after a kill the next call goes on with the rest.

        Args:
            folder: may lie in, or hold, a folder that was indexed before.
            verify: read and hash every file, also those that look unchanged.
            retry: try again what failed before, also where the file is the same.

        Raises:
            PictureError: there is no such folder.
            StoreBusy: another process has been writing for longer than the timeout.
        """
        return FolderRun(self._store, self.encoder, folder, verify=verify, retry=retry).run()

    def remove_folder(self, folder: str | Path) -> int:
        """Take a folder's pictures out of the collection (the files stay). Returns how many there were.

        Raises:
            StoreError: the collection has nothing of that folder.
        """
        return remove_folder(self._store, folder)

    def add(
        self,
        pictures: Sequence[Picture],
        *,
        keys: Sequence[str] | None = None,
        metadata: Metadata = None,
        encoded: Encoded | None = None,
    ) -> IndexReport:
        """Take in single pictures: paths, bytes, PIL pictures or uint8 arrays [h, w, 3].

        Args:
            pictures: a list. Bad ones are listed in the report, the others are taken in.
            keys: one for each; needed for pictures that are no files. A file's key is its absolute path otherwise.
            metadata: one mapping for all or one for each, for `where` to filter by and hits to carry.
            encoded: their embeddings and sizes, where they are known already; nothing is decoded then.

        Raises:
            FingerprintMismatch: the embeddings are of another encoder.
            StoreError: a key is there already, or keys or metadata do not fit the pictures.
        """
        return put_pictures(self._store, self.encoder, pictures, keys, metadata, replace=False, encoded=encoded)

    def upsert(
        self,
        pictures: Sequence[Picture],
        *,
        keys: Sequence[str] | None = None,
        metadata: Metadata = None,
        encoded: Encoded | None = None,
    ) -> IndexReport:
        """As `add`, and replace what is there.

        An unchanged picture is not encoded again. Without `metadata` what a row has of the caller's stays.
        """
        return put_pictures(self._store, self.encoder, pictures, keys, metadata, replace=True, encoded=encoded)

    def delete(self, keys: Sequence[str]) -> int:
        """Take pictures out by path or key (files stay; `add_folder` would take them in again). Returns how many."""
        with contract.writing(self._store):
            self._store.documents(FAILED).delete(keys)
            return self._store.delete(keys)

    def re_encode(
        self, encoder: Encoder, *, check: Callable[[Comparison], bool] | None = None, discard: bool = False
    ) -> IndexReport:
        """Move the collection to another encoder, reading every file again.

        The collection stays as it is, and usable by others, until everything is encoded; then the new
        one takes its place at once. A run that was cut short goes on where it stood.

        Args:
            encoder: the new one.
            check: asked before the new one takes its place, with how it answers beside the old one. Where it returns
                False or raises, the collection stays as it is; what was encoded is kept for the next run.
            discard: throw away an unfinished move to yet another encoder, which is refused otherwise.

        Returns:
            IndexReport: `changed` counts the pictures encoded in this run, `failed` lists those that
            could not be read any more and are not in the collection now (in the new one, where it did not switch).

        Raises:
            StoreError: pictures that came from memory are in it, or an indexed folder is not there.
            FingerprintMismatch: an unfinished move to another encoder is there.
        """
        path = self.path
        report, switched = re_encode(self._store, encoder, check=check, discard=discard)
        if switched:
            self._open(path, encoder, readonly=False)
        return report

    # Searching

    def search(
        self,
        query: str | Picture | Embeddings,
        top: int = 10,
        where: Mapping[str, Any] | None = None,
        *,
        exact: bool | None = None,
        terms: Terms | None = None,
    ) -> list[Hit]:
        """Find the pictures nearest to a query, best first.

        Args:
            query: words ("a red bag"), a picture (file name, Path, bytes, PIL, array), arithmetic of both
                ("2:red bag + photo.jpg - leather"), or Embeddings of one row.
            top: how many.
            where: a filter on metadata, such as {"folder": "bags"}; see `anmok.store.filters`.
            exact: True compares all pictures, False asks the index, None decides by their number.
            terms: weight and kind of what Embeddings were made of, which scores depend on; one text unless given.

        Returns:
            Hits with a `score` that means the same for every query, and whether the picture is `found`, that is
            whether it fits at all (see `anmok.scores`). "Nothing found" is: no hit with `found`.

        Raises:
            QueryError: the query or the filter cannot be read, or names a missing picture.
            PictureError: a picture of the query cannot be used.
        """
        vector = Embeddings(query_vector(query, self.encoder)[None], self.encoder.fingerprint)
        matches = self._store.search(vector.vectors, top, where=where, exact=exact)[0]
        if self._background is None:
            self._background = scores.background(self.encoder)
        return as_hits(matches, self._background, terms or terms_of(query))

    def near_duplicates(
        self, threshold: float = 0.97, *, where: Mapping[str, Any] | None = None, most: int | None = None
    ) -> list[DuplicateGroup]:
        """Groups of pictures whose cosine is at least `threshold`, the largest first.

        What a cosine means differs between encoders: look at a few groups before you trust a threshold.

        Args:
            threshold: from which on two pictures count as one.
            where: only pictures that this filter allows.
            most: pairs that may be found, where memory and time are bounded.

        Raises:
            QueryError: more pairs than `most` are so much alike.
        """
        return duplicates.near_duplicates(self._store, threshold, where=where, most=most)

    def recall(self, queries: Sequence[str | Picture | Embeddings] | Embeddings | int = 100, top: int = 10) -> float:
        """Share of the exact `top` results that a search finds, 0..1 (1 while the collection is searched exactly).

        Args:
            queries: queries as `search` takes them, Embeddings, or a number of the collection's own
                pictures, spread evenly, to ask with.
            top: results for each.
        """
        if isinstance(queries, int):
            vectors = list(self.sample(queries).vectors)
        elif isinstance(queries, Embeddings):
            queries.require(self._store.contract["fingerprint"])
            vectors = list(queries.vectors)
        else:
            vectors = [query_vector(query, self.encoder) for query in queries]
        return self._store.recall(np.stack(vectors), top) if vectors else 1.0

    def sample(self, pictures: int) -> Embeddings:
        """Up to so many of the collection's own pictures, spread evenly over it, as Embeddings [n, d]."""
        keys = self._store.keys()
        return self._embeddings(keys[:: max(1, len(keys) // max(1, pictures))][:pictures])

    def _embeddings(self, keys: Sequence[str]) -> Embeddings:
        vectors = [item.vector for item in self._store.get(keys) if item is not None]
        rows = np.stack(vectors) if vectors else np.empty((0, self._store.dimension), np.float32)
        return Embeddings(rows, self._store.contract["fingerprint"])

    # Looking at it

    def __len__(self) -> int:
        return len(self._store)

    def __contains__(self, key: object) -> bool:
        return key in self._store

    def keys(self, where: Mapping[str, Any] | None = None) -> list[str]:
        """Paths (keys) of the pictures that a filter allows."""
        return self._store.keys(where)

    def get(self, keys: Sequence[str]) -> list[Item | None]:
        """Rows by path or key: Item(key, vector, metadata), None for one that is not there."""
        return self._store.get(keys)

    def ids(self, keys: Sequence[str]) -> list[int | None]:
        """A number for each picture, by path or key; see `Store.ids`. After `re_encode` they are others."""
        return self._store.ids(keys)

    def keys_of(self, ids: Sequence[int]) -> list[str | None]:
        """The reverse of `ids`; None for a number that no picture has."""
        return self._store.keys_of(ids)

    @property
    def failed(self) -> tuple[Failure, ...]:
        """The pictures that could not be taken in, and why."""
        failures: Any = self._store.documents(FAILED).items()
        return tuple(Failure(key, row["error"]) for key, row in failures)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that were indexed, absolute."""
        return tuple(self._store.documents(FOLDERS))

    def stats(self) -> CollectionStats:
        """Size and state."""
        kept = self._store.contract
        return CollectionStats(
            pictures=len(self._store),
            failed=len(self._store.documents(FAILED)),
            folders=self.folders,
            encoder=kept["encoder"],
            fingerprint=kept["fingerprint"],
            store=self._store.stats(),
        )

    # Care

    def check(self) -> CheckReport:
        """Look whether everything on disk is sound."""
        return self._store.check()

    def compact(self) -> int:
        """Give the room of deleted pictures back to the disk. Returns bytes freed."""
        return self._store.compact()

    def backup(self, path: str | Path) -> None:
        """Copy the collection (not the pictures) to a new folder, while it is in use."""
        self._store.backup(path)

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r}, encoder={self._store.contract['encoder']!r})"
