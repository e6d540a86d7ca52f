"""`/v1/embed`: unit vectors of pictures or texts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request

from anmok.serve.pictures import MULTIPART, UploadRoute, contents_of
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, client, encode, service_of
from anmok.serve.schemas import Embedded, EmbedRequest, EmbedResponse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["router", "written"]

router = APIRouter(tags=["embed"], route_class=UploadRoute, responses=PROBLEMS)


@router.post("/v1/embed", openapi_extra=MULTIPART, response_model_exclude_none=True)
async def embed(request: Request, body: EmbedRequest) -> EmbedResponse:
    """The embedding of each picture or text."""
    service = service_of(request)
    async with service.models.use(body.model) as model:
        if body.texts is not None:
            if len(body.texts) > service.settings.texts:
                raise ApiError(413, f"{len(body.texts)} texts in one request, at most {service.settings.texts}")
            embeddings = await model.encode_texts(body.texts, client=client(request))
            results = [Embedded() for _ in body.texts]
            warnings = await service.models.reading.warnings(model, body.texts)
        else:
            contents = await contents_of(request, body.pictures or [])
            embeddings, problems = await encode(request, model, contents)
            results = [Embedded(error=problems.get(i)) for i in range(len(contents))]
            warnings = []
        for index, vector in zip(embeddings.indices, embeddings.vectors, strict=True):
            results[index] = Embedded(embedding=written(vector, body.encoding))
        return EmbedResponse(
            model=model.name,
            fingerprint=model.encoder.fingerprint,
            dimension=model.encoder.dimension,
            results=results,
            warnings=warnings,
        )


def written(vector: NDArray[np.float32], encoding: Literal["float", "base64"]) -> Any:
    """A vector [d] as a list of numbers, or as base64 of little-endian float32."""
    if encoding == "float":
        return vector.tolist()
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
