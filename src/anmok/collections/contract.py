"""The contract of a collection: which encoder its vectors come from. It refuses any other."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.errors import FingerprintMismatch, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anmok.encoder import Encoder
    from anmok.store import Store

__all__ = ["contract_of", "load_encoder", "require_collection", "require_encoder", "retire", "writing"]

KIND = "picture collection"
MEANING = ("fingerprint", "dimension")  # where these are equal, vectors can be compared
STATE, RETIRED = "collection", "retired"  # document and key that mark a store which was replaced


def contract_of(encoder: Encoder) -> dict[str, Any]:
    """What is kept with a collection about the encoder that made its vectors."""
    checkpoint = getattr(encoder, "checkpoint", None)
    transform = getattr(checkpoint, "transform", None)
    tokenizer = getattr(checkpoint, "tokenizer", None)
    return {
        "kind": KIND,
        "encoder": _loadable_name(encoder.name),
        "fingerprint": encoder.fingerprint,
        "dimension": encoder.dimension,
        "precision": getattr(encoder, "precision", "fp32"),
        "transform": transform.to_dict() if transform is not None else None,
        "tokenizer": tokenizer.digest() if tokenizer is not None else None,
    }


def require_collection(store: Store) -> None:
    """Raise StoreError where the store is something else, such as a set of labels."""
    if store.contract.get("kind") != KIND:
        kind = store.contract.get("kind", "a store of another kind")
        raise StoreError(f"{store.path} is no picture collection but {kind}: give the collection's own folder")


def require_encoder(store: Store, encoder: Encoder) -> None:
    """Raise FingerprintMismatch where vectors of `encoder` cannot be compared with those of the store."""
    kept, given = store.contract, contract_of(encoder)
    if any(kept.get(name) != given[name] for name in MEANING):
        raise FingerprintMismatch(
            f"{store.path} holds embeddings of {_named(kept)}, and was given {_named(given)}: the two cannot be"
            f" compared. Use {kept['encoder']!r} with it, or move the collection to the other encoder:"
            " anmok index --re-encode, or Collection(path).re_encode(encoder)"
        )


def load_encoder(contract: Mapping[str, Any]) -> Encoder:
    """The encoder that a contract names."""
    from anmok.loading import load

    return load(contract["encoder"], precision=contract["precision"])


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """One transaction on a collection that is still the current one.

    Raises:
        StoreError: another process moved the collection to another encoder meanwhile.
    """
    with store.transaction():
        moved_to = store.documents(STATE).get(RETIRED)
        if moved_to is not None:
            raise StoreError(f"{store.path} was moved to the encoder {moved_to} meanwhile: open the collection again")
        yield


def retire(store: Store, encoder: Encoder) -> None:
    """Mark a store as replaced, so that a process that still has it open writes nothing more into it."""
    store.documents(STATE)[RETIRED] = encoder.name


def is_retired(store: Store) -> bool:
    """Whether the store was marked as replaced."""
    return RETIRED in store.documents(STATE)


def _loadable_name(name: str) -> str:
    """A folder's name is kept absolute, so that it is found from everywhere."""
    return Path(name).resolve().as_posix() if name != "anmok-mini" and Path(name).is_dir() else name


def _named(contract: Mapping[str, Any]) -> str:
    return f"encoder {contract['encoder']!r} (fingerprint {contract['fingerprint']}, {contract['precision']})"
