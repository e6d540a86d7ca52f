"""Small durable notes beside the vectors: a mapping from keys to JSON values, in the same transactions."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING

from anmok.errors import StoreError
from anmok.store.database import from_json, from_key, to_json, to_key
from anmok.store.types import Json

if TYPE_CHECKING:
    from anmok.store.database import Database

__all__ = ["Documents"]


class Documents(MutableMapping[str, Json]):
    """The documents of one name: text keys → anything that JSON can carry, in the order of the keys.

    Every change is committed before the call returns, unless it stands inside
    `with store.transaction():`. Values read are copies; change one by assigning it again.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name

    def __getitem__(self, key: str) -> Json:
        rows = self._database.execute(
            "SELECT value FROM documents WHERE name = ? AND key = ?", (self.name, self._key(key))
        )
        if not rows:
            raise KeyError(key)
        return from_json(rows[0][0])

    def __setitem__(self, key: str, value: Json) -> None:
        self._write([(key, value)])

    def __delitem__(self, key: str) -> None:
        with self._database.transaction():
            if key not in self:
                raise KeyError(key)
            self.delete([key])

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        return bool(
            self._database.execute("SELECT 1 FROM documents WHERE name = ? AND key = ?", (self.name, to_key(key)))
        )

    def __iter__(self) -> Iterator[str]:
        rows = self._database.execute("SELECT key FROM documents WHERE name = ? ORDER BY key", (self.name,))
        return iter([from_key(row[0]) for row in rows])

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM documents WHERE name = ?", (self.name,))[0][0])

    def __repr__(self) -> str:
        return f"Documents({self.name!r}, {len(self)} keys)"

    def items(self) -> ItemsView[str, Json]:
        """All keys and values, read at once."""
        rows = self._database.execute("SELECT key, value FROM documents WHERE name = ? ORDER BY key", (self.name,))
        return {from_key(key): from_json(value) for key, value in rows}.items()

    def update(self, other: Json = (), /, **more: Json) -> None:
        """Write many at once, in one transaction."""
        pairs = list(other.items() if isinstance(other, Mapping) else other)
        self._write([*pairs, *more.items()])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete many at once, in one transaction; keys that are not there are left alone."""
        rows = [(self.name, self._key(key)) for key in keys]
        with self._database.transaction():
            self._database.execute_many("DELETE FROM documents WHERE name = ? AND key = ?", rows)

    def clear(self) -> None:
        """Delete all documents of this name."""
        with self._database.transaction():
            self._database.execute("DELETE FROM documents WHERE name = ?", (self.name,))

    def _write(self, pairs: list[tuple[str, Json]]) -> None:
        rows = [
            (self.name, self._key(key), to_json(value, f"document {key!r} of {self.name!r}")) for key, value in pairs
        ]
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO documents (name, key, value) VALUES (?, ?, ?)"
                " ON CONFLICT (name, key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
                rows,
            )

    def _key(self, key: str) -> bytes:
        if not isinstance(key, str):
            raise StoreError(f"the keys of documents are text, not {type(key).__name__}")
        return to_key(key)
