"""`/v1/classify`: what pictures show, among labels of the request, a label set, or what a recogniser learned."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from anmok.serve.pictures import MULTIPART, UploadRoute, contents_of
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, encode, service_of
from anmok.serve.schemas import Classified, ClassifyRequest, ClassifyResponse, PredictionModel

if TYPE_CHECKING:
    from anmok.classify import Predictions
    from anmok.classify.classifier import Recognizer
    from anmok.serve.models import Model

__all__ = ["router"]

router = APIRouter(tags=["recognise"], route_class=UploadRoute, responses=PROBLEMS)


@router.post("/v1/classify", openapi_extra=MULTIPART, response_model_exclude_none=True)
async def classify(request: Request, body: ClassifyRequest) -> ClassifyResponse:
    """What each picture shows."""
    service = service_of(request)
    if body.labels is not None:
        if len(body.labels) > service.settings.labels:
            message = f"{len(body.labels)} labels in one request, at most {service.settings.labels}: make a label set"
            raise ApiError(413, message)
        async with service.models.use(body.model) as model:
            classifier = await service.library.ad_hoc.classifier(model, body.labels, body.templates)
            answer = await _answer(request, body, classifier, model)
            answer.warnings = await service.models.reading.warnings(model, body.labels)
            return answer
    if body.label_set is not None:
        async with service.library.labels.use(body.label_set) as (label_set, model):
            return await _answer(request, body, label_set, model)
    async with service.library.recognisers.use(body.recogniser or "") as (recogniser, model):
        return await _answer(request, body, recogniser, model)


async def _answer(request: Request, body: ClassifyRequest, classifier: Recognizer, model: Model) -> ClassifyResponse:
    embeddings, problems = await encode(request, model, await contents_of(request, body.pictures))
    how = {} if body.error_rate is None else {"error_rate": body.error_rate}
    found = await asyncio.to_thread(
        classifier.classify_embeddings, embeddings, top=body.top, back_off=body.back_off, **how
    )
    results = [Classified(error=problems.get(i)) for i in range(len(body.pictures))]
    for index, predictions in zip(embeddings.indices, found, strict=True):
        results[index] = _classified(predictions)
    return ClassifyResponse(model=model.name, results=results)


def _classified(predictions: Predictions) -> Classified:
    return Classified(
        found=predictions.found, predictions=[PredictionModel(**asdict(prediction)) for prediction in predictions]
    )
