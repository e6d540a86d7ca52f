"""`/predict` and `/ping`: as Immich's machine learning server, for its smart search.

They are there only where the service was started for them, because they ask for no key: Immich cannot send one. What
is not asked of CLIP is refused, and never answered with nothing found: Immich would take that as true, and delete the
faces and texts that it knows of a picture.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, File, Form, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from anmok.serve.problems import ApiError, told
from anmok.serve.routes.common import PROBLEMS, problem, service_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import numpy as np
    from numpy.typing import NDArray

    from anmok.serve.models import Model

__all__ = ["router"]

router = APIRouter(tags=["compatible"], responses={**PROBLEMS, 400: PROBLEMS[422]})

Answer = TypeVar("Answer")
LONGEST = 4096  # characters of a search
WAIT_S = 1.0  # before a busy model is asked again
EXAMPLE = '{"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en-US"}}}}'


class Slot(BaseModel):
    """Which model does it. Options of Immich are of no consequence for CLIP."""

    modelName: str
    options: dict[str, Any] | None = None

    model_config = ConfigDict(extra="forbid")


class ClipTask(BaseModel):
    """A picture (`visual`) or a text (`textual`)."""

    visual: Slot | None = None
    textual: Slot | None = None

    model_config = ConfigDict(extra="forbid")


class Entries(BaseModel):
    """The tasks of a request, by name."""

    clip: ClipTask | None = None

    model_config = ConfigDict(extra="allow")


class Prediction(BaseModel):
    """`clip`: the unit vector, as the text of a JSON list. The size is that of the picture, upright."""

    clip: str
    imageHeight: int | None = None
    imageWidth: int | None = None

    model_config = ConfigDict(
        json_schema_extra={"example": {"clip": "[0.6,-0.8]", "imageHeight": 1080, "imageWidth": 1440}}
    )


@router.get("/ping", name="ping", response_class=PlainTextResponse)
async def ping() -> str:
    """Whether the service answers; Immich asks every half a minute."""
    return "pong"


@router.post("/predict", name="predict", response_model_exclude_none=True)
async def predict(
    request: Request,
    entries: Annotated[str, Form(description="Tasks, as JSON.", examples=[EXAMPLE])],
    text: Annotated[str | None, Form(max_length=LONGEST)] = None,
    image: Annotated[bytes | None, File()] = None,
) -> Prediction:
    """The vector of a picture or of a text."""
    visual, slot = _task(entries)
    async with service_of(request).models.use(_model_name(request, slot.modelName)) as model:
        if visual:
            return await _of_picture(request, model, image)
        if not text:
            raise ApiError(400, "the part `text` is missing or empty")
        embeddings = await _patiently(lambda: model.encode_texts([text], client=_client(request)))
        return Prediction(clip=_written(embeddings.vectors[0]))


def _task(entries: str) -> tuple[bool, Slot]:
    """Whether a picture is asked about, and by which model."""
    try:
        asked = Entries.model_validate_json(entries)
    except ValidationError as error:
        raise ApiError(422, f"entries: {told(error.errors())}") from error
    if asked.model_extra:
        names = ", ".join(repr(name) for name in sorted(asked.model_extra))
        message = f"{names}: only 'clip' is done here; turn the others off in Immich's machine learning settings"
        raise ApiError(422, message, code="unknown_task")
    slots = [] if asked.clip is None else [slot for slot in (asked.clip.visual, asked.clip.textual) if slot is not None]
    if len(slots) != 1 or asked.clip is None:
        raise ApiError(422, "entries: give one task, either clip.visual or clip.textual")
    return asked.clip.visual is not None, slots[0]


async def _of_picture(request: Request, model: Model, image: bytes | None) -> Prediction:
    if not image:
        raise ApiError(400, "the part `image` is missing or empty")
    if len(image) > (most := service_of(request).settings.picture_bytes):
        raise ApiError(413, f"the picture has {len(image):,} bytes, at most {most:,}")
    embeddings, sizes, failed = await _patiently(lambda: model.encode_measured([image], client=_client(request)))
    if failed:
        raise ApiError(422, problem(failed[0]).message, code="picture")
    width, height = sizes[0]
    return Prediction(clip=_written(embeddings.vectors[0]), imageHeight=height, imageWidth=width)


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Wait for a busy model, as long as a request may last: for Immich "come back later" is a failure."""
    while True:
        try:
            return await ask()
        except ApiError as error:
            if error.status != 429:
                raise
            wait_s = max(WAIT_S, error.retry_after or 0)
        await asyncio.sleep(wait_s)


def _model_name(request: Request, given: str) -> str:
    """The served model of a name, also where it is written as Immich allows: `immich-app/ViT-B-32::openai`."""
    names = service_of(request).models.names
    return given if given in names else given.rsplit("/", 1)[-1].replace(":", "_")


def _client(request: Request) -> str:
    return request.client.host if request.client else "immich"


def _written(vector: NDArray[np.float32]) -> str:
    """A vector [d] as JSON, in as few digits as single precision needs."""
    return f"[{','.join(str(number) for number in vector)}]"
