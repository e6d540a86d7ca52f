"""`/v1/collections/{name}/pictures`: take pictures in, list them, delete them, and show them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from anmok.collections.adding import Encoded
from anmok.collections.batch import OWN_FIELDS, user_metadata
from anmok.collections.folder import content_hash
from anmok.errors import PictureError, QueryError
from anmok.files import write_whole
from anmok.serve.decoder import Thumbnail
from anmok.serve.file_answer import FileAnswer
from anmok.serve.names import upload_file
from anmok.serve.pictures import MULTIPART, StoredPicture, UploadRoute, contents_of
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, WRITES, client, problem, service_of, thumbnail_address
from anmok.serve.schemas import (
    MOST,
    Added,
    AddedPicture,
    AddRequest,
    Deleted,
    DeleteRequest,
    Listed,
    ListedPicture,
    NewPicture,
)
from anmok.serve.uploads import delete_empty_folders, kept_in_step, taken_by_another

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.collections import Collection, IndexReport
    from anmok.serve.service import Service

__all__ = ["router"]

router = APIRouter(tags=["pictures"], route_class=UploadRoute, responses=PROBLEMS)
KEPT_S = 86_400  # that a browser may keep a thumbnail
DEEPEST = 16  # levels of a picture's metadata


@router.post("/v1/collections/{name}/pictures", dependencies=[WRITES], openapi_extra=MULTIPART)
async def add_pictures(request: Request, name: str, body: AddRequest) -> Added:
    """Take pictures in. One whose id is there already is refused, the others are taken in."""
    return await _take_in(request, name, body, replace=False)


@router.put("/v1/collections/{name}/pictures", dependencies=[WRITES], openapi_extra=MULTIPART)
async def put_pictures(request: Request, name: str, body: AddRequest) -> Added:
    """Take pictures in, in place of those with the same id. Metadata that is not given stays as it is."""
    return await _take_in(request, name, body, replace=True)


@router.get("/v1/collections/{name}/pictures")
async def list_pictures(
    request: Request,
    name: str,
    skip: Annotated[int, Query(ge=0)] = 0,
    top: Annotated[int, Query(ge=1, le=MOST)] = 100,
    where: str | None = None,
) -> Listed:
    """Pictures in the order that they were taken in. `where`: a filter, as JSON."""
    service = service_of(request)
    filtered = _filter(where)

    def rows(collection: Collection) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
        keys = collection.keys(filtered)
        part = keys[skip : skip + top]
        items = zip(part, collection.get(part), strict=True)
        return len(keys), [(key, dict(item.metadata)) for key, item in items if item is not None]

    async with service.library.collections.use(name) as (opened, _):
        total, found = await asyncio.to_thread(rows, opened.thing)
    shown = []
    for key, metadata in found:
        number = service.library.pictures.id_of(key, metadata)
        address = thumbnail_address(name, number)
        shown.append(ListedPicture(id=number, metadata=service.library.pictures.shown(metadata), thumbnail=address))
    return Listed(total=total, pictures=shown)


@router.post("/v1/collections/{name}/pictures/delete", dependencies=[WRITES])
async def delete_pictures(request: Request, name: str, body: DeleteRequest) -> Deleted:
    """Take pictures out. Uploads are deleted; files of indexed folders stay, and come back when it is indexed again."""
    service = service_of(request)

    def delete(collection: Collection) -> int:
        if body.ids is not None:
            named = (service.library.pictures.key_of(collection, number) for number in body.ids)
            keys = [key for key in named if key is not None]
        else:
            keys = collection.keys(body.where)
        folder = service.library.collections.uploads_of(name)
        files = _uploaded(folder, keys)
        with kept_in_step(folder, files, collection):
            deleted = collection.delete(keys)
            for file in files.values():
                file.unlink(missing_ok=True)
        for file in files.values():
            delete_empty_folders(folder, file)
        return deleted

    async with service.library.collections.use(name) as (opened, _):
        return Deleted(deleted=await service.library.collections.change(name, opened, lambda: delete(opened.thing)))


@router.get("/v1/collections/{name}/thumbnail", response_class=Response)
async def thumbnail(
    request: Request, name: str, id: str, side: Annotated[int, Query(ge=16, le=1024)] = 320
) -> Response:
    """A small JPEG of a picture."""
    service = service_of(request)
    file = await service.library.pictures.file(name, id)
    try:
        (content,) = await service.decoders.run((Thumbnail(side), str(file)))
    except PictureError as error:
        raise ApiError(404, service.without_paths(error.reason), code="picture") from error
    headers = {"Cache-Control": f"private, max-age={KEPT_S}"}
    return Response(content.tobytes(), media_type="image/jpeg", headers=headers)


@router.get("/v1/collections/{name}/file", response_class=Response)
async def original(request: Request, name: str, id: str) -> Response:
    """A picture as it is."""
    file, size = await service_of(request).library.pictures.open(name, id)
    return FileAnswer(file, size, headers={"Cache-Control": "private, max-age=60"})


async def _take_in(request: Request, name: str, body: AddRequest, *, replace: bool) -> Added:
    service = service_of(request)
    wanted = [one if isinstance(one, NewPicture) else NewPicture(picture=one) for one in body.pictures]
    contents = await contents_of(request, [one.picture for one in wanted])
    async with service.library.collections.use(name) as (opened, model):
        encoded, sizes, failed = await model.encode_measured(contents, client=client(request))
        results = [
            AddedPicture(id=one.id, error=problem(failed[i])) if i in failed else _named(request, one, contents[i])
            for i, one in enumerate(wanted)
        ]

        def write() -> IndexReport:
            _refuse(service, name, opened.thing, wanted, results, replace=replace)
            rows = [row for row, index in enumerate(encoded.indices) if results[index].error is None]
            indices = [int(encoded.indices[row]) for row in rows]
            known = Encoded(encoded[rows], [sizes[row] for row in rows])
            chosen = [(results[i].id or "", contents[i], wanted[i].metadata) for i in indices]
            return _write(service.library.collections.uploads_of(name), opened.thing, chosen, known)

        report = await service.library.collections.change(name, opened, write)
    return Added(added=report.added, changed=report.changed, unchanged=report.unchanged, results=results)


def _named(request: Request, one: NewPicture, content: bytes | ApiError) -> AddedPicture:
    """The id of a picture that can be used: as given, the upload's file name, or its content's hash."""
    if one.id is not None:
        return AddedPicture(id=one.id)
    uploads = getattr(request.state, "uploads", [])
    if isinstance(one.picture, str) and one.picture.startswith("upload:"):
        name = uploads[int(one.picture.removeprefix("upload:"))][0]
        if name:
            return AddedPicture(id=name.replace("\\", "/").rsplit("/", 1)[-1])
    if isinstance(one.picture, StoredPicture):
        return AddedPicture(id=one.picture.id)
    return AddedPicture(id=content_hash(content) if isinstance(content, bytes) else None)


def _refuse(
    service: Service,
    name: str,
    collection: Collection,
    wanted: list[NewPicture],
    results: list[AddedPicture],
    *,
    replace: bool,
) -> None:
    """Note what is wrong with ids and metadata."""
    folder = service.library.collections.uploads_of(name)
    seen: set[str] = set()
    files: set[Path] = set()
    roots = {root.name for root in service.settings.roots}
    for one, result in zip(wanted, results, strict=True):
        if result.error is not None or result.id is None:
            continue
        try:
            file = upload_file(folder, result.id)
            _check_metadata(one.metadata or {}, service.settings.metadata_bytes)
            if result.id in seen:
                raise ApiError(409, f"the id {result.id!r} is given twice")
            if not replace and result.id in collection:
                raise ApiError(409, f"{result.id!r} is in the collection already: PUT replaces it")
            if "/" in result.id and result.id.partition("/")[0] in roots:
                raise ApiError(409, f"ids that begin with {result.id.partition('/')[0]}/ are of an indexed folder")
            if taken_by_another(folder, file, files):
                raise ApiError(409, f"{result.id!r} cannot be a picture beside those that are there: a/b beside a")
            files.add(file)
        except ApiError as error:
            result.error = problem(error)
        seen.add(result.id)


def _check_metadata(metadata: dict[str, Any], most: int) -> None:
    if reserved := [field for field in metadata if field in OWN_FIELDS]:
        raise ApiError(422, f"the field {reserved[0]!r} is kept by the collection itself: use another name")
    values: list[Any] = [metadata]
    for _ in range(DEEPEST):
        inner = (value.values() if isinstance(value, dict) else value for value in values)
        values = [value for some in inner for value in some if isinstance(value, dict | list)]
    if values:
        raise ApiError(422, f"the metadata has more than {DEEPEST} levels: make it flatter")
    if (size := len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "surrogatepass"))) > most:
        raise ApiError(413, f"the metadata has {size:,} bytes as JSON, at most {most:,}: keep the rest elsewhere")


def _write(
    folder: Path,
    collection: Collection,
    chosen: list[tuple[str, bytes | ApiError, dict[str, Any] | None]],
    known: Encoded,
) -> IndexReport:
    """Files first, then rows: a row never points at nothing."""
    keys = [number for number, _, _ in chosen]
    before = dict(zip(keys, collection.get(keys), strict=True))
    metadata = [given if given is not None else _kept(before[number]) for number, _, given in chosen]
    files = {number: upload_file(folder, number) for number in keys}
    with kept_in_step(folder, files, collection):
        for number, content, _ in chosen:
            write_whole(files[number], content if isinstance(content, bytes) else b"", lasting=True)
        return collection.upsert(list(files.values()), keys=keys, metadata=metadata, encoded=known)


def _uploaded(folder: Path, keys: list[str]) -> dict[str, Path]:
    """The files of those keys that are of uploads."""
    files = {}
    for key in keys:
        with suppress(ApiError):  # a key from elsewhere, such as the path of an indexed file
            files[key] = upload_file(folder, key)
    return files


def _kept(item: Any) -> dict[str, Any]:
    """A row's metadata of the client's."""
    return {} if item is None else user_metadata(item.metadata)


def _filter(where: str | None) -> dict[str, Any] | None:
    if not where:
        return None
    try:
        value = json.loads(where)
    except (ValueError, RecursionError) as error:
        raise QueryError('where is a filter as JSON, such as {"folder": "bags"}') from error
    if not isinstance(value, dict):
        raise QueryError('where is a filter as JSON, such as {"folder": "bags"}')
    return value
