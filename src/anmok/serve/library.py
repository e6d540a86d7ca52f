"""What a service keeps: collections with their uploads, label sets and recognisers, each by its name.

HOME/collections/NAME.anmok     a collection
HOME/uploads/NAME/…             pictures that clients sent to it
HOME/labels/NAME.anmok          a label set
HOME/recognisers/NAME/          what `anmok adapt` made

Collections and label sets stay open between requests; one that was deleted or moved to another model is closed when the
last request lets go of it. Pictures of indexed folders are known to clients by the name of the root and the path below
it: where folders lie on this machine is nobody's business.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.adapt import AdaptedClassifier
from anmok.classify import Classifier, LabelSet, LabelStore, open_classifier
from anmok.classify.classifier import Recognizer
from anmok.collections import Collection
from anmok.collections.batch import file_of
from anmok.errors import did_you_mean
from anmok.serve.names import checked_name, inside, upload_file
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from anmok.encoder import Encoder
    from anmok.serve.models import Model, Models
    from anmok.serve.settings import ServiceSettings

__all__ = ["Library", "Opened"]

SUFFIX = ".anmok"
AD_HOC = 64  # lists of labels given in requests whose embeddings are remembered
WAITING = 32  # requests that may wait for their lists of labels to be encoded
HIDDEN = ("root", "mtime_ns")  # of a picture's metadata


@dataclass(eq=False)
class Opened:
    """A collection or a recogniser in use, with its model."""

    name: str
    thing: Any
    model: str
    state: Any = None  # of its files when it was opened
    own: Model | None = None  # of a recogniser that has an encoder of its own
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by what changes it


class Library:
    """Everything by its name; used from one event loop, the slow parts in threads."""

    def __init__(self, settings: ServiceSettings, models: Models) -> None:
        self._settings, self.models = settings, models
        self.collections, self.uploads = settings.home / "collections", settings.home / "uploads"
        self.label_sets, self.recognisers = settings.home / "labels", settings.home / "recognisers"
        for folder in (self.collections, self.uploads, self.label_sets, self.recognisers):
            folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[Path, Opened] = {}
        self._opening = asyncio.Lock()
        self._ad_hoc: OrderedDict[tuple[Any, ...], Classifier] = OrderedDict()
        self._encoding, self._to_encode = asyncio.Lock(), 0  # lists of labels: one at a time

    def names(self, folder: Path) -> list[str]:
        """Of what a folder of the library holds, sorted."""
        suffix = "" if folder == self.recognisers else SUFFIX
        found = (path.name.removesuffix(suffix) for path in folder.iterdir() if path.is_dir() and path.suffix == suffix)
        return sorted(name for name in found if not name.startswith("."))

    # --- collections

    async def create_collection(self, name: str, model: str | None) -> None:
        """Make an empty collection.

        Raises:
            ApiError: there is one of this name (409), or no such model (404).
        """
        path = self.collections / f"{checked_name(name)}{SUFFIX}"
        async with self.models.use(model) as used, self._opening:
            if path.exists():
                raise ApiError(409, f"there is a collection {name!r} already")
            await asyncio.to_thread(lambda: Collection(path, encoder=used.encoder).close())

    async def found(self, name: str) -> tuple[Path, str]:
        """The folder of a collection, and the name of its model. As `collection`."""
        path = self._path(self.collections, name, "collection")
        return path, await self._model_for(path)

    @asynccontextmanager
    async def collection(self, name: str) -> AsyncIterator[tuple[Opened, Model]]:
        """A collection and its model, until the block is left.

        Raises:
            ApiError: there is no such collection (404), or its model is not served (409).
        """
        path, model = await self.found(name)
        async with self.models.use(model) as used:
            opened = await self._opened(path, used, lambda: Collection(path, encoder=used.encoder))
            try:
                yield opened, used
            finally:
                self._let_go(opened)

    async def delete_collection(self, name: str) -> None:
        """Delete a collection and what was uploaded to it.

        Raises:
            ApiError: there is no such collection (404).
        """
        path = self._path(self.collections, name, "collection")
        await self._delete(path)
        await asyncio.to_thread(shutil.rmtree, self.uploads / checked_name(name), ignore_errors=True)

    def retire(self, name: str) -> None:
        """Have a collection opened anew by the next request: it was moved to another model."""
        if (opened := self._open.pop(self.collections / f"{checked_name(name)}{SUFFIX}", None)) is not None:
            self._let_go(opened, users=0)

    # --- pictures of collections

    def upload(self, collection: str, number: str) -> Path:
        """The file of an uploaded picture."""
        return upload_file(self.uploads / checked_name(collection), number)

    def id_of(self, key: str, metadata: Mapping[str, Any]) -> str:
        """What clients call a picture: what they called it themselves, or the root's name and the path below it."""
        if not key.startswith("/") and not Path(key).is_absolute():
            return key
        for root in self._settings.roots:
            if Path(key).is_relative_to(root.resolve()):
                return f"{root.name}/{Path(key).relative_to(root.resolve()).as_posix()}"
        if (folder := metadata.get("root")) is None:  # of a picture that could not be taken in
            return Path(key).name
        return f"{Path(str(folder)).name}/{metadata.get('path')}".rstrip("/")

    def key_of(self, collection: Collection, number: str) -> str | None:
        """The key of a picture that clients call so; None: there is none."""
        if number in collection and not Path(number).is_absolute():
            return number
        name, _, rest = number.partition("/")
        for root in self._settings.roots:
            if root.name == name and (key := (root.resolve() / rest).as_posix()) in collection:
                return key
        for key, item in zip(keys := collection.keys({"path": rest}), collection.get(keys), strict=True):
            if item is not None and Path(str(item.metadata.get("root"))).name == name:
                return key
        return None

    def shown(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a picture's metadata that clients may see."""
        return {name: value for name, value in metadata.items() if name not in HIDDEN}

    async def content(self, collection: str, number: str) -> bytes:
        """The bytes of a picture of a collection.

        Raises:
            ApiError: there is none, or its file may not be shown (404).
        """
        file = await self.file(collection, number)
        return await asyncio.to_thread(file.read_bytes)

    async def file(self, collection: str, number: str) -> Path:
        """The file of a picture of a collection. As `content`."""
        async with self.collection(collection) as (opened, _):
            found = await asyncio.to_thread(self._file, opened.thing, number)
        if found is None:
            raise ApiError(404, f"the collection {collection!r} has no picture {number!r}, or its file is gone")
        return found

    def _file(self, collection: Collection, number: str) -> Path | None:
        key = self.key_of(collection, number)
        item = None if key is None else collection.get([key])[0]
        file = None if item is None else file_of(item.metadata)
        if file is None or item is None:
            return None
        allowed = (self.uploads, *self._settings.roots)
        return Path(file) if any(inside(Path(file), folder) for folder in allowed) else None

    def folder(self, name: str) -> Path:
        """A folder below the configured roots, by the root's name and the path below it.

        Raises:
            ApiError: there is none (404), or there are no roots (403).
        """
        if not self._settings.roots:
            raise ApiError(403, "no folders of this machine are open to clients: start the service with --root FOLDER")
        first, _, rest = name.strip("/").partition("/")
        root = next((root for root in self._settings.roots if root.name == first), None)
        if root is None or "\0" in rest:
            near = did_you_mean(first, [root.name for root in self._settings.roots])
            raise ApiError(404, f"there is no root {first!r}.{near}")
        folder = root / rest
        if not inside(folder, root) or not folder.is_dir():
            raise ApiError(404, f"there is no folder {name!r}")
        return folder.resolve()

    def subfolders(self, name: str) -> list[str]:
        """Names of the folders in a folder below the roots, sorted; of the roots themselves for "". As `folder`."""
        if not name.strip("/"):
            return sorted(root.name for root in self._settings.roots)
        folder = self.folder(name)
        inner = (path.name for path in folder.iterdir() if path.is_dir() and inside(path, folder))
        return sorted(one for one in inner if not one.startswith("."))

    # --- label sets, recognisers, and labels that come with a request

    @asynccontextmanager
    async def recogniser(self, name: str) -> AsyncIterator[tuple[AdaptedClassifier, Model]]:
        """An adapted recogniser, and its model, which may be its own.

        Raises:
            ApiError: there is none of that name (404), or its model is not served (409).
        """
        path = self._path(self.recognisers, name, "recogniser")
        named = (await asyncio.to_thread(AdaptedClassifier.describe, path))["encoder"]
        if named["own"]:
            opened = await self._opened(path, None, lambda: AdaptedClassifier.load(path))
            opened.own = opened.own or self.models.of(f"recogniser {name}", opened.thing.encoder)
            try:
                yield opened.thing, opened.own
            finally:
                self._let_go(opened)
            return
        async with self.models.use(self._model_of(named["name"])) as used:
            opened = await self._opened(path, used, lambda: AdaptedClassifier.load(path, used.encoder))
            try:
                yield opened.thing, used
            finally:
                self._let_go(opened)

    @asynccontextmanager
    async def label_set(self, name: str) -> AsyncIterator[tuple[Recognizer, Model]]:
        """A classifier of a label set, and its model.

        Raises:
            ApiError: there is none of that name (404), it is empty (409), or its model is not served (409).
        """
        path = self._path(self.label_sets, name, "label set")
        async with self.models.use(await self._model_for(path)) as used:
            opened = await self._opened(path, used, lambda: open_classifier(path, used.encoder))
            try:
                yield opened.thing, used
            finally:
                self._let_go(opened)

    @asynccontextmanager
    async def label_store(self, name: str) -> AsyncIterator[LabelStore]:
        """A label set to look at or change.

        Raises:
            ApiError: there is none of that name (404), or its model is not served (409).
        """
        path = self._path(self.label_sets, name, "label set")
        async with self.models.use(await self._model_for(path)) as used:
            store = await asyncio.to_thread(LabelStore, path, used.encoder, create=False)
            try:
                yield store
            finally:
                await asyncio.to_thread(store.close)

    async def create_label_set(self, name: str, labels: LabelSet, templates: str, model: str | None) -> None:
        """Make a label set.

        Raises:
            ApiError: there is one of this name (409), or no such model (404).
        """
        path = self.label_sets / f"{checked_name(name)}{SUFFIX}"

        def make(used: Model) -> None:
            with LabelStore(path, used.encoder, templates=templates) as store:
                store.add(labels)

        async with self.models.use(model) as used:
            if path.exists():
                raise ApiError(409, f"there is a label set {name!r} already: change it, or give another name")
            await asyncio.to_thread(make, used)

    async def delete_label_set(self, name: str) -> None:
        """Delete a label set.

        Raises:
            ApiError: there is none of that name (404).
        """
        await self._delete(self._path(self.label_sets, name, "label set"))

    async def ad_hoc(self, model: Model, labels: Sequence[str], templates: str) -> Classifier:
        """A classifier of labels that came with a request; those used last are remembered.

        Raises:
            ApiError: many others wait for theirs (429).
        """
        key = (model.encoder.fingerprint, tuple(labels), templates)
        if key not in self._ad_hoc:
            if self._to_encode >= WAITING:
                raise ApiError(429, f"{self._to_encode} other lists of labels wait: try again", retry_after=1)
            self._to_encode += 1
            try:
                async with self._encoding:
                    if key not in self._ad_hoc:  # another request may have brought the same list
                        made = await asyncio.to_thread(Classifier, model.encoder, LabelSet(labels), templates=templates)
                        self._ad_hoc[key] = made
            finally:
                self._to_encode -= 1
            while len(self._ad_hoc) > AD_HOC:
                self._ad_hoc.popitem(last=False)
        self._ad_hoc.move_to_end(key)
        return self._ad_hoc[key]

    def model_name(self, encoder: Encoder) -> str:
        """What requests call the model that an encoder is of."""
        return next(model.name for model in self.models.loaded if model.encoder is encoder)

    def close(self) -> None:
        """Let go of all files."""
        for path in list(self._open):
            self._let_go(self._open.pop(path), users=0)

    # --- opening and letting go

    def _path(self, folder: Path, name: str, kind: str) -> Path:
        suffix = "" if folder == self.recognisers else SUFFIX
        path = folder / f"{checked_name(name)}{suffix}"
        if not path.is_dir():
            near = did_you_mean(name, self.names(folder))
            raise ApiError(404, f"there is no {kind} {name!r}.{near}")
        return path

    async def _model_for(self, path: Path) -> str:
        """The served model of a store."""
        if (opened := self._open.get(path)) is not None:
            return opened.model
        return self._model_of(await asyncio.to_thread(_encoder_name, path))

    def _model_of(self, encoder: str) -> str:
        """The served model by which something was made."""
        for name in self.models.names:
            if encoder in (name, self._settings.source_of(name)):
                return name
        shown = Path(encoder).name
        raise ApiError(409, f"this was made with the model {shown!r}, which is not served: start with --model {shown}")

    async def _opened(self, path: Path, model: Model | None, open_it: Callable[[], Any]) -> Opened:
        async with self._opening:
            state = await asyncio.to_thread(_state, path)
            opened = self._open.get(path)
            fresh = opened is not None and (model is None or opened.thing.encoder is model.encoder)
            if opened is not None and (not fresh or (path.parent != self.collections and opened.state != state)):
                self._let_go(self._open.pop(path), users=0)
                opened = None
            if opened is None:
                thing = await asyncio.to_thread(open_it)
                opened = self._open[path] = Opened(
                    path.name.removesuffix(SUFFIX), thing, model.name if model else "", state
                )
            opened.users += 1
            return opened

    def _let_go(self, opened: Opened, *, users: int = 1) -> None:
        """One user less; closed when nobody has it and it is not kept open."""
        opened.users -= users
        kept = any(one is opened for one in self._open.values())
        if not kept and not opened.users:
            if hasattr(opened.thing, "close"):
                opened.thing.close()
            if opened.own is not None:
                opened.own.close()

    async def _delete(self, path: Path) -> None:
        async with self._opening:
            if (opened := self._open.pop(path, None)) is not None:
                self._let_go(opened, users=0)
            gone = path.with_name(f".{path.name}.deleted")  # at once, whole; then at leisure
            await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
            path.rename(gone)
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)


def _encoder_name(path: Path) -> str:
    """The name of the encoder that a store was made with."""
    from anmok.store import Store

    with Store.open(path, readonly=True) as store:
        return str(store.contract.get("encoder"))


def _state(path: Path) -> tuple[int, ...]:
    """Of the files of a store or a recogniser: changes when somebody writes."""
    files = sorted(file for file in path.iterdir() if file.name.endswith((".sqlite", "-wal", ".json", ".safetensors")))
    return tuple(number for file in files for number in (file.stat().st_mtime_ns, file.stat().st_size))
