"""`/v1/search`: pictures of a collection by words, by pictures, and by arithmetic of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from fastapi import APIRouter, Request

from anmok.collections import parse_query
from anmok.collections.query import combine
from anmok.embeddings import Embeddings
from anmok.serve.pictures import Term, UploadRoute, contents_of
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, client, encode, first_error, service_of, thumbnail_address
from anmok.serve.schemas import HitModel, SearchRequest, SearchResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anmok.collections import Collection, Hit
    from anmok.scores import Terms
    from anmok.serve.library import Library
    from anmok.serve.models import Model

__all__ = ["router", "vector_of"]

router = APIRouter(tags=["search"], route_class=UploadRoute, responses=PROBLEMS)


@router.post("/v1/search")
async def search(request: Request, body: SearchRequest) -> SearchResponse:
    """The pictures nearest to a query."""
    service = service_of(request)
    terms = _terms(body)
    async with service.library.collections.use(body.collection) as (opened, model):
        vector, kinds = await vector_of(request, model, terms)
        with service.metrics.stage("search"):
            hits = await asyncio.to_thread(_hits, opened.thing, vector, kinds, body)
        shown = [_shown(service.library, body.collection, hit) for hit in hits]
        warnings = await service.models.reading.warnings(model, [term.text or "" for term in terms])
    found = any(hit.found for hit in hits)
    return SearchResponse(collection=body.collection, found=found, hits=shown, warnings=warnings)


async def vector_of(request: Request, model: Model, terms: list[Term]) -> tuple[Embeddings, Terms]:
    """The query as an embedding of one row, and what it is made of.

    Raises:
        ApiError: a picture cannot be used, or a term is neither text nor picture (422).
        QueryError: the terms cancel out.
    """
    for term in terms:
        if (term.text is None) == (term.picture is None) or (term.text is not None and not term.text.strip()):
            raise ApiError(422, "each term is either a text or a picture")
    texts = [term.text for term in terms if term.text is not None]
    pictures = [term.picture for term in terms if term.picture is not None]
    text_rows: Iterator[NDArray[np.float32]] = iter(
        (await model.encode_texts(texts, client=client(request))).vectors if texts else ()
    )
    picture_rows: Iterator[NDArray[np.float32]] = iter(())
    if pictures:
        embeddings, problems = await encode(request, model, await contents_of(request, pictures))
        if (error := first_error(problems)) is not None:
            raise error
        picture_rows = iter(embeddings.vectors)
    rows = np.stack([next(text_rows if term.text is not None else picture_rows) for term in terms])
    vector = rows[0] if len(terms) == 1 else combine(rows, [term.weight for term in terms])
    kinds: Terms = tuple((1.0 if len(terms) == 1 else t.weight, "picture" if t.text is None else "text") for t in terms)
    return Embeddings(vector[None], model.encoder.fingerprint), kinds


def _terms(body: SearchRequest) -> list[Term]:
    if body.terms is not None:
        return body.terms
    if body.picture is not None:
        return [Term(picture=body.picture, weight=1)]
    parsed = parse_query(body.query or "")  # words that end like a file are words here: no file of this machine is read
    return [Term(text=term.content, weight=term.weight) for term in parsed]


def _hits(collection: Collection, vector: Embeddings, kinds: Terms, body: SearchRequest) -> list[Hit]:
    found = collection.search(vector, top=body.skip + body.top, where=body.where, terms=kinds)
    return found[body.skip :]


def _shown(library: Library, collection: str, hit: Hit) -> HitModel:
    number = library.pictures.id_of(hit.path, hit.metadata)
    return HitModel(
        id=number,
        score=hit.score,
        cosine=hit.cosine,
        found=hit.found,
        metadata=library.pictures.shown(hit.metadata),
        thumbnail=thumbnail_address(collection, number),
    )
