"""The routes, a file for each subject: read the request, call the room that knows, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.serve.routes import (
    classify,
    clip_retrieval,
    collections,
    embed,
    health,
    jobs,
    labels,
    models,
    openai,
    page,
    pictures,
    search,
)

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["routers"]


def routers() -> list[APIRouter]:
    """All of them."""
    subjects = (classify, embed, search, collections, pictures, jobs, labels, models, health, page)
    compatible = (openai, clip_retrieval)
    return [subject.router for subject in (*subjects, *compatible)]
