"""`/knn-service`, `/metadata` and `/indices-list`: as clip-retrieval's backend, for ClipClient and the clip front.

Their indices are the collections here. Bodies are JSON whatever their Content-Type says: ClipClient sends none, and the
front says text/plain. Each route also answers with its slash doubled, because the front's usual address ends in one.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from anmok.embeddings import Embeddings, unit
from anmok.errors import PictureError
from anmok.serve.decoder import Thumbnail
from anmok.serve.pictures import Term
from anmok.serve.problems import ApiError, told
from anmok.serve.routes.common import PROBLEMS, file_address, service_of
from anmok.serve.routes.search import vector_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from anmok.collections import Collection
    from anmok.scores import Terms
    from anmok.serve.models import Model

__all__ = ["router"]

router = APIRouter(tags=["compatible"], responses=PROBLEMS)

IDS = 3000  # of one request: as many as the front asks for
THUMBNAILS = 100  # in one answer
SIDE = 320  # of a thumbnail, pixels
COPY = 0.97  # cosine from which on two pictures are copies, as for `/duplicates`
IGNORED = ("use_safety_model", "use_violence_detector", "use_mclip", "aesthetic_score")  # no such models are here
IGNORED_HEADER = {"description": "Fields that were asked for and have no effect.", "schema": {"type": "string"}}
IGNORING: dict[int | str, dict[str, Any]] = {200: {"headers": {"X-Anmok-Ignored": IGNORED_HEADER}}}


def _of_pictures(modality: str) -> str:
    if modality != "image":
        raise ValueError('only pictures are indexed here, no captions: ask with modality "image"')
    return modality


class KnnRequest(BaseModel):
    """What to search for: the first of `text`, `image` (base64), `image_url` and `embedding_input` that is not empty.

    `num_result_ids` results, the first `num_images` of them with metadata. `use_safety_model`,
    `use_violence_detector`, `use_mclip` and `aesthetic_score` have no effect, because there are no such models here:
    the answer's header X-Anmok-Ignored names those that were asked for. Nothing is filtered.
    """

    text: str | None = Field(None, max_length=4096)
    image: str | None = None
    image_url: str | None = None
    embedding_input: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(fail_fast=True)] | None = None
    modality: Annotated[str, AfterValidator(_of_pictures)] = "image"
    num_images: int = Field(40, ge=0, le=IDS)
    num_result_ids: int | None = Field(None, ge=1, le=IDS)
    indice_name: str | None = None
    deduplicate: bool = False
    use_safety_model: Any = None
    use_violence_detector: Any = None
    use_mclip: Any = None
    aesthetic_score: Any = None

    model_config = ConfigDict(json_schema_extra={"example": {"text": "a red bag", "indice_name": "shop"}})


class MetadataRequest(BaseModel):
    """Pictures by the ids that a search gave."""

    ids: list[int] = Field(max_length=IDS)
    indice_name: str | None = None

    model_config = ConfigDict(json_schema_extra={"example": {"ids": [14, 7], "indice_name": "shop"}})


class KnnHit(BaseModel):
    """A picture: `similarity` is the cosine. With its metadata, `url` and `image` (base64 of a small JPEG)."""

    id: int
    similarity: float

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": {"id": 14, "similarity": 0.27}})


class PictureMetadata(BaseModel):
    """A picture's metadata, with `url` and `image` (base64 of a small JPEG)."""

    id: int
    metadata: dict[str, Any]

    model_config = ConfigDict(json_schema_extra={"example": {"id": 14, "metadata": {"caption": "a red bag"}}})


Asked = TypeVar("Asked", KnnRequest, MetadataRequest)


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra`, because FastAPI would want the right Content-Type."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.get("//indices-list", include_in_schema=False)
@router.get("/indices-list")
async def list_indices(request: Request) -> list[str]:
    """The names of all collections."""
    library = service_of(request).library
    return library.collections.names()


@router.post("//knn-service", include_in_schema=False)
@router.post("/knn-service", openapi_extra=_body(KnnRequest), responses=IGNORING)
async def knn_service(request: Request, response: Response) -> list[KnnHit]:
    """The pictures nearest to a query, best first."""
    asked = await _read(request, KnnRequest)
    if ignored := [name for name in IGNORED if getattr(asked, name)]:
        response.headers["X-Anmok-Ignored"] = ", ".join(ignored)
    service = service_of(request)
    name = _collection_name(request, asked.indice_name)
    async with service.library.collections.use(name) as (opened, model):
        vector, kinds = await _query(request, model, asked)
        with service.metrics.stage("search"):
            found = await asyncio.to_thread(_found, opened.thing, vector, kinds, asked)
    shown = await _shown(request, name, [(key, metadata) for _, _, key, metadata in found[: asked.num_images]])
    shown += [{} for _ in found[asked.num_images :]]
    return [
        KnnHit(**{**metadata, "id": number, "similarity": cosine})
        for (number, cosine, _, _), metadata in zip(found, shown, strict=True)
    ]


@router.post("//metadata", include_in_schema=False)
@router.post("/metadata", openapi_extra=_body(MetadataRequest))
async def picture_metadata(request: Request) -> list[PictureMetadata]:
    """Metadata of pictures by id; those that are gone are left out."""
    asked = await _read(request, MetadataRequest)
    name = _collection_name(request, asked.indice_name)

    def rows(collection: Collection) -> list[tuple[int, str, Mapping[str, Any]]]:
        keys = {number: key for number, key in zip(asked.ids, collection.keys_of(asked.ids), strict=True) if key}
        items = zip(keys.items(), collection.get(list(keys.values())), strict=True)
        return [(number, key, item.metadata) for (number, key), item in items if item is not None]

    async with service_of(request).library.collections.use(name) as (opened, _):
        found = await asyncio.to_thread(rows, opened.thing)
    shown = await _shown(request, name, [(key, metadata) for _, key, metadata in found])
    return [PictureMetadata(id=row[0], metadata=metadata) for row, metadata in zip(found, shown, strict=True)]


async def _read(request: Request, model: type[Asked]) -> Asked:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise ApiError(422, told(error.errors())) from error


def _collection_name(request: Request, given: str | None) -> str:
    """The collection that is meant: the first unless it is named."""
    library = service_of(request).library
    names = [given] if given else library.collections.names()
    if not names:
        raise ApiError(404, "there is no collection yet")
    return names[0]


async def _query(request: Request, model: Model, asked: KnnRequest) -> tuple[Embeddings, Terms]:
    """The query as an embedding of one row, and what it is made of."""
    if asked.text:
        return await vector_of(request, model, [Term(text=asked.text, weight=1)])
    if picture := asked.image or asked.image_url:
        return await vector_of(request, model, [Term(picture=picture, weight=1)])
    if not asked.embedding_input:
        raise ApiError(422, "give one of text, image, image_url and embedding_input")
    vector = np.array(asked.embedding_input, np.float64)
    if len(vector) != model.encoder.dimension or not vector.any():
        message = f"embedding_input is a vector of {model.encoder.dimension} numbers, not all of them zero"
        raise ApiError(422, message, param="embedding_input")
    vector /= np.abs(vector).max()  # to a size whose square neither overflows nor vanishes
    return Embeddings(unit(vector[None]), model.encoder.fingerprint), ((1.0, "picture"),)


def _found(
    collection: Collection, vector: Embeddings, kinds: Terms, asked: KnnRequest
) -> list[tuple[int, float, str, Mapping[str, Any]]]:
    """Id, cosine, key and metadata of the nearest pictures, best first."""
    top = asked.num_result_ids or asked.num_images
    hits = collection.search(vector, top, terms=kinds) if top else []
    keys = [hit.path for hit in hits]
    numbers = collection.ids(keys)
    kept: Iterable[int] = range(len(hits))
    if asked.deduplicate:
        kept = _without_copies(collection, keys)
    found = ((numbers[i], hits[i]) for i in kept)
    return [(number, hit.cosine, hit.path, hit.metadata) for number, hit in found if number is not None]


def _without_copies(collection: Collection, keys: list[str]) -> list[int]:
    """Places of the pictures that no better one is a copy of."""
    empty = np.zeros(collection.encoder.dimension, np.float32)  # of one that was deleted a moment ago
    rows = [empty if item is None else item.vector for item in collection.get(keys)]
    if not rows:
        return []
    vectors = np.stack(rows)
    alike: NDArray[np.bool_] = vectors @ vectors.T >= COPY
    copies = np.zeros(len(rows), bool)
    kept = []
    for place in range(len(rows)):
        if not copies[place]:
            kept.append(place)
            copies |= alike[place]
    return kept


async def _shown(
    request: Request, collection: str, pictures: list[tuple[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """What clients see of pictures: metadata, an address and, of the first ones, a thumbnail."""
    library = service_of(request).library
    ids = [library.pictures.id_of(key, metadata) for key, metadata in pictures]
    images = await asyncio.gather(*(_thumbnail(request, collection, number) for number in ids[:THUMBNAILS]))
    base = str(request.base_url).rstrip("/")
    shown = []
    for place, (number, (_, metadata)) in enumerate(zip(ids, pictures, strict=True)):
        facts = {"url": base + file_address(collection, number), **library.pictures.shown(metadata)}
        if place < len(images) and (image := images[place]) is not None:
            facts["image"] = image
        shown.append(facts)
    return shown


async def _thumbnail(request: Request, collection: str, number: str) -> str | None:
    """Base64 of a small JPEG; None where the file is gone or may not be shown."""
    service = service_of(request)
    try:
        file = await service.library.pictures.file(collection, number)
        (content,) = await service.decoders.run((Thumbnail(SIDE), str(file)))
    except (ApiError, PictureError):
        return None
    return base64.b64encode(content.tobytes()).decode("ascii")
