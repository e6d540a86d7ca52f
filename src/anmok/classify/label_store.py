"""A label set on disk: add, change and delete single labels; only what is new is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import progress, scores
from anmok.classify.labels import Label, LabelSet
from anmok.classify.prompts import Templates, encode_labels, resolve_templates
from anmok.embeddings import Embeddings, unit
from anmok.errors import FingerprintMismatch, LabelError, did_you_mean
from anmok.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from anmok.encoder import Encoder
    from anmok.store import Match

    Row = tuple[int, Label, NDArray[np.float32]]

__all__ = ["LabelChanges", "LabelStore", "facts_of", "label_of"]

KIND = "labels"
CHUNK = 2048  # labels that are encoded and written at once


@dataclass(frozen=True)
class LabelChanges:
    """Names of the labels that `add` found new, changed, and as they were."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


class LabelStore:
    """Labels and their embeddings in a store, with the templates and the encoder they were made with.

    Args:
        path: the store's folder, "NAME.anmok".
        encoder: what the labels are, or will be, encoded with.
        templates: for a new store; "small" unless given. An existing store keeps its own.
        create: make the store where there is none.
        readonly: do not write; others may.

    Raises:
        FingerprintMismatch: the labels were encoded by another encoder.
        LabelError: the store holds something other than labels, or was made with other templates.
        StoreError: it cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        encoder: Encoder,
        *,
        templates: Templates | None = None,
        create: bool = True,
        readonly: bool = False,
    ) -> None:
        self.path = Path(path)
        self.encoder = encoder
        wanted = None if templates is None else resolve_templates(templates)
        if create and not self.path.exists():
            contract = {
                "kind": KIND,
                "encoder": encoder.name,
                "fingerprint": encoder.fingerprint,
                "templates": list(wanted or resolve_templates("small")),
            }
            self._store = Store.open(self.path, dimension=encoder.dimension, create=True, contract=contract)
        else:
            self._store = Store.open(self.path, readonly=readonly)
        try:
            self.templates = self._check(self._store.contract or {}, wanted)
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    def __len__(self) -> int:
        return len(self._store)

    @property
    def labels(self) -> LabelSet:
        """The labels, in the order they were added.

        Raises:
            LabelError: there are none.
        """
        return LabelSet(label for _, label, _ in self._rows())

    @property
    def embeddings(self) -> Embeddings:
        """Row i is label i of `labels`, [m, d]."""
        return self._embeddings(self._rows())

    def read(self) -> tuple[LabelSet, Embeddings]:
        """Labels and embeddings of one moment, though another process may be writing.

        Raises:
            LabelError: there are no labels.
        """
        rows = self._rows()
        return LabelSet(label for _, label, _ in rows), self._embeddings(rows)

    @property
    def threshold(self) -> float:
        """Best match from which on a picture shows one of the labels (see `Classifier.fit_threshold`)."""
        value = self._store.documents(KIND).get("threshold")
        return scores.THRESHOLD if value is None else float(value)

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._store.documents(KIND)["threshold"] = float(value)

    def add(self, labels: LabelSet | Iterable[str | Label], *, embeddings: Embeddings | None = None) -> LabelChanges:
        """Add labels; one whose name is there already is replaced. Only new and changed ones are encoded.

        Args:
            labels: what to add.
            embeddings: row i of label i, where they are encoded already (with the same templates).

        Raises:
            LabelError: labels given twice, or parents that go in a circle with those in the store; nothing is added.
        """
        given = labels if isinstance(labels, LabelSet) else LabelSet(labels)
        present = self._present(given.names)
        self._check_parents(given)
        added = [label for label in given if label.name not in present]
        changed = [label for label in given if label.name in present and label != present[label.name][1]]
        self._write(added + changed, {name: order for name, (order, _) in present.items()}, given, embeddings)
        written = {label.name for label in added + changed}
        return LabelChanges(
            tuple(label.name for label in added),
            tuple(label.name for label in changed),
            tuple(label.name for label in given if label.name not in written),
        )

    def delete(self, names: Iterable[str]) -> None:
        """Delete labels by name.

        Raises:
            LabelError: a name is not there; nothing is deleted.
        """
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self._store:
                raise LabelError(f"{self.path}: there is no label {name!r}.{did_you_mean(name, self._store.keys())}")
        self._store.delete(names)

    def get(self, names: Iterable[str]) -> list[Label]:
        """The labels of these names, as far as they are there."""
        return [label for _, label in self._present(names).values()]

    def page(self, skip: int, top: int, *, prefix: str = "") -> tuple[int, list[Label]]:
        """How many labels begin with a prefix; and `top` of them in the order they were added, after `skip` others.

        No embeddings are read.
        """
        total, rows = self._store.page(skip, top, prefix=prefix, field="order")
        return total, [label_of(name, facts) for name, facts in rows]

    def nearest(self, vectors: NDArray[np.float32], count: int) -> list[list[Match]]:
        """The `count` labels nearest to each unit vector [n, d], by the store's index; their facts are the metadata."""
        return self._store.search(vectors, count)

    def sample(self, count: int) -> NDArray[np.float32]:
        """Embeddings of labels drawn at random, always the same ones: about `count`, or all where they are fewer."""
        return self._store.sample(count)

    def _check(self, contract: dict[str, Any], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Whether the store is of labels, of this encoder and these templates; returns its templates."""
        if contract.get("kind") != KIND:
            raise LabelError(f"{self.path} is a store of {contract.get('kind') or 'something else'}, not of labels")
        if contract.get("fingerprint") != self.encoder.fingerprint:
            raise FingerprintMismatch(
                f"the labels in {self.path} were encoded by {contract.get('encoder')} ({contract.get('fingerprint')}), "
                f"not by {self.encoder.name} ({self.encoder.fingerprint}): "
                "load that encoder, or add the labels to a new store"
            )
        templates = tuple(contract.get("templates") or ())
        if wanted is not None and wanted != templates:
            raise LabelError(
                f"the labels in {self.path} were made with other templates ({len(templates)}: {templates[0]!r}, …): "
                "leave the templates out, or add the labels to a new store"
            )
        return templates

    def _present(self, names: Iterable[str]) -> dict[str, tuple[int, Label]]:
        """Those of these labels that are in the store, with their places."""
        items = (item for some in _chunks(list(names)) for item in self._store.get(some))
        return {
            item.key: (int(item.metadata["order"]), label_of(item.key, item.metadata))
            for item in items
            if item is not None
        }

    def _check_parents(self, given: LabelSet) -> None:
        """No circle of parents may arise; only what is above the given labels can be part of one."""
        known = {label.name: label for label in given}
        names = {label.parent for label in given if label.parent} - set(known)
        while names:
            above = self.get(names)
            known |= {label.name: label for label in above}
            names = {label.parent for label in above if label.parent} - set(known)
        LabelSet(known.values())

    def _write(
        self, labels: list[Label], order_of: dict[str, int], given: LabelSet, embeddings: Embeddings | None
    ) -> None:
        """Encode and write, some at a time: after a kill the rest is written by adding the same labels again."""
        if embeddings is not None:
            embeddings.require(self.encoder.fingerprint)
            row_of = {name: row for row, name in enumerate(given.names)}
        with progress.task("adding labels", len(labels)) as advance:
            for some in _chunks(labels):
                if embeddings is None:
                    with progress.quiet():  # one line for all of them
                        vectors = encode_labels(self.encoder, some, self.templates).vectors
                else:
                    vectors = embeddings.vectors[[row_of[label.name] for label in some]]
                with self._store.transaction():
                    first = self._next_order()
                    new = [label.name for label in some if label.name not in order_of]
                    places = order_of | {name: first + index for index, name in enumerate(new)}
                    self._store.upsert([label.name for label in some], vectors, [facts_of(one, places) for one in some])
                    self._store.documents(KIND)["next"] = first + len(new)
                advance(len(some))
        self._store.refresh_index()

    def _next_order(self) -> int:
        """The place of the next new label."""
        known = self._store.documents(KIND).get("next")
        return int(known) if known is not None else max((order for order, _, _ in self._rows()), default=-1) + 1

    def _embeddings(self, rows: list[Row]) -> Embeddings:
        vectors = np.array([vector for _, _, vector in rows]).reshape(-1, self.encoder.dimension)
        return Embeddings(unit(vectors), self.encoder.fingerprint)

    def _rows(self) -> list[Row]:
        """Everything in the store, in the order it was added."""
        rows: list[Row] = []
        for keys, vectors, metadata in self._store.scan():
            for key, vector, facts in zip(keys, vectors, metadata, strict=True):
                rows.append((int(facts["order"]), label_of(key, facts), vector))
        return sorted(rows, key=lambda row: row[0])


def label_of(name: str, facts: dict[str, Any]) -> Label:
    """A label from its row."""
    return Label(name, tuple(facts["synonyms"]), facts["ko"], facts["parent"])


def facts_of(label: Label, order_of: dict[str, int]) -> dict[str, Any]:
    """What a row holds beside name and vector."""
    return {
        "order": order_of[label.name],
        "synonyms": list(label.synonyms),
        "ko": label.ko,
        "parent": label.parent,
    }


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
