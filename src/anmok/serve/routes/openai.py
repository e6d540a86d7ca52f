"""`/v1/embeddings`: as at OpenAI, so that its clients, and those of infinity and vLLM, need only another address.

An error in one item fails the whole request, because these protocols know no other way; it is 400 where the native
routes say 422, because that is what their clients have an exception for.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from anmok.serve.embeddings_request import EmbeddingsRequest, Item
from anmok.serve.pictures import contents_of
from anmok.serve.problems import ApiError, told
from anmok.serve.routes.common import PROBLEMS, client, encode, service_of
from anmok.serve.routes.embed import written
from anmok.serve.schemas import WarningModel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import numpy as np
    from numpy.typing import NDArray
    from starlette.responses import Response

    from anmok.serve.models import Model

    Rows = dict[int, NDArray[np.float32]]  # place of the item → its vector [d]

__all__ = ["router"]


class OpenAIRoute(APIRoute):
    """A route whose errors are those that OpenAI's clients know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Say 400, and which field is wrong, where a request cannot be used."""
        handle = super().get_route_handler()

        async def handle_openai(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise ApiError(400, told(error.errors()), param=_param(error)) from error
            except ApiError as error:
                if error.status not in (413, 422):
                    raise
                raise ApiError(400, error.message, param=error.param) from error

        return handle_openai


router = APIRouter(tags=["compatible"], route_class=OpenAIRoute, responses={**PROBLEMS, 400: PROBLEMS[422]})


class EmbeddingData(BaseModel):
    """`embedding`: a list of numbers, or base64 of little-endian float32. Unit length."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens of texts, as the model read them: with the special ones, and cut where it stops reading."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """One vector for each item, in order.

    `warnings`: of texts that the model cannot read, as `/v1/embed` has them; left out where there are none.
    """

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[EmbeddingData]
    usage: Usage
    warnings: list[WarningModel] | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "embd-5f0c", "object": "list", "created": 1780000000, "model": "anmok-mini",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            }
        }
    )  # fmt: skip


@router.post("/v1/embeddings", response_model_exclude_none=True)
async def create_embeddings(request: Request, body: EmbeddingsRequest) -> EmbeddingsResponse:
    """Unit vectors of texts, or of pictures, for clients that know OpenAI's API."""
    items = body.items()
    async with service_of(request).models.use(body.model) as model:
        _check_width(body.dimensions, model)
        texts, tokens = await _texts(request, model, items)
        rows = {**texts, **await _pictures(request, model, items)}
        warnings = await _warnings(request, model, items)
        encoding = body.encoding_format or "float"
        return EmbeddingsResponse(
            id=f"embd-{request.scope['request_id']}",
            created=int(time.time()),
            model=model.name,
            data=[EmbeddingData(index=i, embedding=written(rows[i], encoding)) for i in range(len(items))],
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
            warnings=warnings or None,
        )


async def _texts(request: Request, model: Model, items: list[Item]) -> tuple[Rows, int]:
    """Vectors of the texts among items, and how many tokens they have."""
    texts = {i: item.text for i, item in enumerate(items) if item.text is not None}
    step = service_of(request).settings.texts  # many texts leave room for others between them
    rows: Rows = {}
    tokens = 0
    for start in range(0, len(texts), step):
        some = list(texts.items())[start : start + step]
        embeddings = await model.encode_texts([text for _, text in some], client=client(request))
        rows.update(zip((i for i, _ in some), embeddings.vectors, strict=True))
        tokens += await asyncio.to_thread(_tokens, model, [text for _, text in some])
    return rows, tokens


async def _pictures(request: Request, model: Model, items: list[Item]) -> Rows:
    """Vectors of the pictures among items.

    Raises:
        ApiError: one of them cannot be used (400), or there are too many (413).
    """
    pictures = {i: item.picture for i, item in enumerate(items) if item.picture is not None}
    if not pictures:
        return {}
    contents = await contents_of(request, list(pictures.values()))
    embeddings, problems = await encode(request, model, contents)
    places = list(pictures)
    for number, one in problems.items():
        place = items[places[number]].place
        raise ApiError(400, f"{place}: {one.message}", code=one.code, param=place)
    return dict(zip(places, embeddings.vectors, strict=True))


async def _warnings(request: Request, model: Model, items: list[Item]) -> list[WarningModel]:
    """What there is to say of the texts among items; `items` of a warning are places in the request."""
    places = [i for i, item in enumerate(items) if item.text is not None]
    texts = [item.text for item in items if item.text is not None]
    found = await service_of(request).models.reading.warnings(model, texts)
    return [one.model_copy(update={"items": [places[i] for i in one.items]}) for one in found]


def _tokens(model: Model, texts: list[str]) -> int:
    tokenizer = model.encoder.checkpoint.tokenizer
    return int(((tokenizer(texts) == tokenizer.eos_token).argmax(axis=1) + 1).sum())


def _check_width(dimensions: int | None, model: Model) -> None:
    width = model.encoder.dimension
    if dimensions not in (None, width):
        message = (
            f"{model.name} has vectors of {width} dimensions, and was not trained for shorter ones: "
            f"leave `dimensions` out, or send {width}"
        )
        raise ApiError(400, message, param="dimensions")


def _param(error: RequestValidationError) -> str | None:
    """The field that is wrong, as OpenAI names it: `dimensions`, or `input[3]`."""
    path = [part for part in error.errors()[0]["loc"] if part != "body"]
    if not path or not isinstance(path[0], str):
        return None
    return f"{path[0]}[{path[1]}]" if path[0] == "input" and len(path) > 1 else path[0]
