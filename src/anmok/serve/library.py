"""What a service keeps: collections with their uploads, label sets and recognisers, each by its name.

HOME/collections/NAME.anmok     a collection
HOME/uploads/NAME/…             pictures that clients sent to it
HOME/labels/NAME.anmok          a label set
HOME/recognisers/NAME/          what `anmok adapt` made

Names that begin with a point are of what is being made or deleted. Collections and label sets stay open between
requests; one that was deleted or moved to another model is closed when the last request lets go of it. Pictures of
indexed folders are known to clients by the name of the root and the path below it: where folders lie on this machine is
nobody's business.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anmok.adapt import AdaptedClassifier
from anmok.classify import Classifier, LabelSet, LabelStore, open_classifier
from anmok.classify.classifier import Recognizer
from anmok.collections import Collection
from anmok.collections.batch import file_of
from anmok.errors import did_you_mean
from anmok.serve.names import checked_name, resolved, sendable, sent
from anmok.serve.problems import ApiError
from anmok.serve.uploads import take_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from anmok.encoder import Encoder
    from anmok.serve.models import Model, Models
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.works import Works

__all__ = ["Library", "Opened"]

Answer = TypeVar("Answer")
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
    state: Any = None  # of its files when it was opened, of what does not see by itself that they change
    own: Model | None = None  # of a recogniser that has an encoder of its own
    users: int = 0
    gone: bool = False  # deleted, or moved to another model, since it was opened
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by what changes it


class Library:
    """Everything by its name; used from one event loop, the slow parts in threads."""

    def __init__(self, settings: ServiceSettings, models: Models, works: Works) -> None:
        self._settings, self.models, self.works = settings, models, works
        self.collections, self.uploads = settings.home / "collections", settings.home / "uploads"
        self.label_sets, self.recognisers = settings.home / "labels", settings.home / "recognisers"
        for folder in (self.collections, self.uploads, self.label_sets, self.recognisers):
            folder.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.glob(".*"):  # a kill left it
                shutil.rmtree(unfinished, ignore_errors=True)
        self._roots = {root.name: root.resolve() for root in settings.roots}  # as they are in keys
        self._open: dict[Path, Opened] = {}
        self._opening = asyncio.Lock()
        self._ad_hoc: OrderedDict[tuple[Any, ...], Classifier] = OrderedDict()
        self._encoding = asyncio.Lock()  # lists of labels: one at a time
        self._to_encode: dict[tuple[Any, ...], asyncio.Task[Classifier]] = {}
        models.unloading = self._close_all_of

    def names(self, folder: Path) -> list[str]:
        """Of what a folder of the library holds, sorted."""
        suffix = "" if folder == self.recognisers else SUFFIX
        found = (path.name for path in folder.iterdir() if path.name.endswith(suffix) and path.is_dir())
        return sorted(name.removesuffix(suffix) for name in found if not name.startswith("."))

    # --- collections

    async def create_collection(self, name: str, model: str | None) -> None:
        """Make an empty collection.

        Raises:
            ApiError: there is one of this name (409), or no such model (404).
        """
        path = self.collections / f"{checked_name(name)}{SUFFIX}"

        async def make() -> None:
            async with self.models.use(model) as used:
                new = _beside(path, "new")
                await asyncio.to_thread(lambda: Collection(new, encoder=used.encoder).close())
                await self._put_in_place(new, path, f"there is a collection {name!r} already")

        await self.works.finish(make())

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
            opened = await self._opened(path, used, lambda: self._open_collection(path, used))
            try:
                yield opened, used
            finally:
                self._let_go(opened)

    async def change(self, name: str, opened: Opened, do: Callable[[], Answer]) -> Answer:
        """Change a collection that is in use, in a thread: one change at a time, and each to its end.

        Raises:
            ApiError: it was deleted (404) or moved to another model (503) since it was opened.
        """

        async def alone() -> Answer:
            try:
                async with opened.lock:
                    if opened.gone:
                        self._path(self.collections, name, "collection")
                        raise ApiError(503, f"the collection {name!r} was moved meanwhile: try again", retry_after=1)
                    return await asyncio.to_thread(do)
            finally:
                self._let_go(opened)

        opened.users += 1  # until it is done, whatever becomes of the request
        return await self.works.finish(alone())

    async def delete_collection(self, name: str) -> None:
        """Delete a collection and what was uploaded to it.

        Raises:
            ApiError: there is no such collection (404).
        """
        path = self._path(self.collections, name, "collection")
        await self.works.finish(self._delete(path, self.uploads / checked_name(name)))

    def retire(self, name: str) -> None:
        """Have a collection opened anew by the next request: it was moved to another model."""
        self._close(self.collections / f"{checked_name(name)}{SUFFIX}")

    # --- pictures of collections

    def uploads_of(self, collection: str) -> Path:
        """The folder of the pictures that clients sent to a collection."""
        return self.uploads / checked_name(collection)

    def id_of(self, key: str, metadata: Mapping[str, Any]) -> str:
        """What clients call a picture: what they called it themselves, or the root's name and the path below it."""
        return sendable(self._id_of(key, metadata))

    def _id_of(self, key: str, metadata: Mapping[str, Any]) -> str:
        if not key.startswith("/") and not Path(key).is_absolute():
            return key
        for name, root in self._roots.items():
            if Path(key).is_relative_to(root):
                return f"{name}/{Path(key).relative_to(root).as_posix()}"
        if (folder := metadata.get("root")) is None:  # of a picture that could not be taken in
            return Path(key).name
        return f"{Path(str(folder)).name}/{metadata.get('path')}".rstrip("/")

    def key_of(self, collection: Collection, number: str) -> str | None:
        """The key of a picture that clients call so; None: there is none."""
        number = number if number in collection else sent(number)
        if number in collection and not Path(number).is_absolute():
            return number
        name, _, rest = number.partition("/")
        if name in self._roots and (key := (self._roots[name] / rest).as_posix()) in collection:
            return key
        for key, item in zip(keys := collection.keys({"path": rest}), collection.get(keys), strict=True):
            if item is not None and Path(str(item.metadata.get("root"))).name == name:
                return key
        return None

    def shown(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a picture's metadata that clients may see."""
        return sendable({name: value for name, value in metadata.items() if name not in HIDDEN})

    async def content(self, collection: str, number: str) -> bytes:
        """The bytes of a picture of a collection.

        Raises:
            ApiError: there is none, or its file may not be shown (404), or is too large (413).
        """
        file = await self.file(collection, number)
        return await asyncio.to_thread(self._content, file, f"the file of {number!r}")

    def _content(self, file: Path, named: str) -> bytes:
        most = self._settings.picture_bytes
        try:
            with file.open("rb") as opened:
                content = opened.read(most + 1)
        except OSError as error:
            raise ApiError(404, f"{named} cannot be read") from error
        if len(content) > most:
            raise ApiError(413, f"{named} has more than {most:,} bytes")
        return content

    async def file(self, collection: str, number: str) -> Path:
        """The file of a picture of a collection, links followed. As `content`."""
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
        found = next((found for folder in allowed if (found := resolved(Path(file), folder)) is not None), None)
        return found if found is not None and found.is_file() else None

    def folder(self, name: str) -> Path:
        """A folder below the configured roots, by the root's name and the path below it.

        Raises:
            ApiError: there is none (404), or there are no roots (403).
        """
        if not self._settings.roots:
            raise ApiError(403, "no folders of this machine are open to clients: start the service with --root FOLDER")
        first, _, rest = name.strip("/").partition("/")
        root, rest = next((root for root in self._settings.roots if root.name == first), None), sent(rest)
        if root is None or "\0" in rest:
            near = did_you_mean(first, [root.name for root in self._settings.roots])
            raise ApiError(404, f"there is no root {first!r}.{near}")
        folder = resolved(root / rest, root)
        if folder is None or not folder.is_dir():
            raise ApiError(404, f"there is no folder {name!r}")
        return folder

    def subfolders(self, name: str) -> list[str]:
        """Names of the folders in a folder below the roots, sorted; of the roots themselves for "". As `folder`."""
        if not name.strip("/"):
            return sorted(root.name for root in self._settings.roots)
        folder = self.folder(name)
        try:
            inner = [path.name for path in folder.iterdir() if path.is_dir() and resolved(path, folder) is not None]
        except OSError as error:
            raise ApiError(404, f"the folder {name!r} cannot be read") from error
        return sorted(sendable(one) for one in inner if not one.startswith("."))

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
            store = await self._thread(lambda: LabelStore(path, used.encoder, create=False))
            try:
                yield store
            finally:
                await self.works.finish(asyncio.to_thread(store.close))

    async def create_label_set(self, name: str, labels: LabelSet, templates: str, model: str | None) -> None:
        """Make a label set.

        Raises:
            ApiError: there is one of this name (409), or no such model (404).
        """
        path = self.label_sets / f"{checked_name(name)}{SUFFIX}"
        taken = f"there is a label set {name!r} already: change it, or give another name"
        if path.exists():
            raise ApiError(409, taken)

        def fill(new: Path, used: Model) -> None:
            try:
                with LabelStore(new, used.encoder, templates=templates) as store:
                    store.add(labels)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise

        async def make() -> None:
            async with self.models.use(model) as used:
                new = _beside(path, "new")
                await asyncio.to_thread(fill, new, used)
                await self._put_in_place(new, path, taken)

        await self.works.finish(make())

    async def delete_label_set(self, name: str) -> None:
        """Delete a label set.

        Raises:
            ApiError: there is none of that name (404).
        """
        await self.works.finish(self._delete(self._path(self.label_sets, name, "label set")))

    async def ad_hoc(self, model: Model, labels: Sequence[str], templates: str) -> Classifier:
        """A classifier of labels that came with a request; those used last are remembered.

        Raises:
            ApiError: many others wait for theirs (429).
        """
        key = (model.encoder.fingerprint, tuple(labels), templates)
        known = self._ad_hoc.get(key)
        if known is not None and known.encoder is model.encoder:
            self._ad_hoc.move_to_end(key)
            return known
        if (task := self._to_encode.get(key)) is None:  # another request may have brought the same list
            if len(self._to_encode) >= WAITING:
                raise ApiError(429, f"{len(self._to_encode)} other lists of labels wait: try again", retry_after=1)
            given = LabelSet(labels)
            task = self._to_encode[key] = self.works.begin(self._encode_labels(key, model, given, templates))
        return await asyncio.shield(task)

    async def _encode_labels(self, key: tuple[Any, ...], model: Model, labels: LabelSet, templates: str) -> Classifier:
        try:
            async with self._encoding:
                made = await asyncio.to_thread(Classifier, model.encoder, labels, templates=templates)
        finally:
            del self._to_encode[key]
        self._ad_hoc[key] = made
        while len(self._ad_hoc) > AD_HOC:
            self._ad_hoc.popitem(last=False)
        return made

    def model_name(self, encoder: Encoder) -> str:
        """What requests call the model that an encoder is of."""
        return next(model.name for model in self.models.loaded if model.encoder is encoder)

    def close(self) -> None:
        """Let go of all files."""
        for path in list(self._open):
            self._close(path)

    # --- opening and letting go

    def _open_collection(self, path: Path, model: Model) -> Collection:
        collection = Collection(path, encoder=model.encoder)
        take_back(self.uploads / path.name.removesuffix(SUFFIX), collection)
        return collection

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
        for name, source in self._settings.sources.items():
            if encoder in (name, source):
                return name
        shown = Path(encoder).name
        raise ApiError(409, f"this was made with the model {shown!r}, which is not served: start with --model {shown}")

    async def _opened(self, path: Path, model: Model | None, open_it: Callable[[], Any]) -> Opened:
        async with self._opening:
            if not path.is_dir():  # opening it would make it anew
                raise ApiError(404, f"{path.name.removesuffix(SUFFIX)!r} was deleted a moment ago")
            # a collection sees by itself what others write
            state = None if path.parent == self.collections else await asyncio.to_thread(_state, path)
            opened = self._open.get(path)
            other = opened is not None and model is not None and opened.thing.encoder is not model.encoder
            if opened is not None and (other or opened.state != state):
                self._close(path)
                opened = None
            if opened is None:
                thing = await self._thread(open_it)
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

    async def _thread(self, open_it: Callable[[], Answer]) -> Answer:
        """Open something in a thread; where the caller leaves meanwhile it is closed again."""
        task = self.works.begin(asyncio.to_thread(open_it))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_close_result)
            raise

    def _close(self, path: Path) -> None:
        """Keep something open no longer; closed when the last request lets go of it."""
        if (opened := self._open.pop(path, None)) is not None:
            opened.gone = True
            self._let_go(opened, users=0)

    def _close_all_of(self, model: Model) -> None:
        """A model is let go: so is what would hold it in memory."""
        for path, opened in list(self._open.items()):
            if opened.thing.encoder is model.encoder:
                self._close(path)
        for key, classifier in list(self._ad_hoc.items()):
            if classifier.encoder is model.encoder:
                del self._ad_hoc[key]

    async def _put_in_place(self, new: Path, path: Path, taken: str) -> None:
        """Give what was made its name. Raises ApiError where another has it (409)."""
        async with self._opening:
            if not path.exists():
                new.rename(path)
                return
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        raise ApiError(409, taken)

    async def _delete(self, path: Path, *more: Path) -> None:
        """Delete a store and what belongs to it: at once, whole; then at leisure."""
        gone = []
        async with self._opening:
            opened = self._open.get(path)
            async with opened.lock if opened is not None else asyncio.Lock():
                self._close(path)
                for one in (path, *more):
                    if one.exists():
                        gone.append(_beside(one, "deleted"))
                        one.rename(gone[-1])
        for one in gone:
            await asyncio.to_thread(shutil.rmtree, one, ignore_errors=True)


def _close_result(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is None and hasattr(task.result(), "close"):
        task.result().close()


def _beside(path: Path, what: str) -> Path:
    """A name for something that is being made or deleted."""
    return path.with_name(f".{uuid.uuid4().hex}.{what}")


def _encoder_name(path: Path) -> str:
    """The name of the encoder that a store was made with."""
    from anmok.store import Store

    with Store.open(path, readonly=True) as store:
        return str(store.contract.get("encoder"))


def _state(path: Path) -> tuple[int, ...]:
    """Of the files of a store or a recogniser: changes when somebody writes."""
    found = []
    for file in sorted(path.iterdir()):
        if file.name.endswith((".sqlite", "-wal", ".json", ".safetensors")):
            with suppress(FileNotFoundError):  # SQLite deletes its log when the last one closes the database
                status = file.stat()
                found += [status.st_mtime_ns, status.st_size]
    return tuple(found)
