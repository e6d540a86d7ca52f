"""The application: routes, the door in front of them, and the service behind them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

from anmok.serve.access import may_read
from anmok.serve.door import Door
from anmok.serve.problems import handle_problems
from anmok.serve.routes import immich, routers
from anmok.serve.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anmok.serve.settings import ServiceSettings

__all__ = ["create_app"]

ABOUT = """Pictures and words in one space: recognise with words alone, search by words, pictures and both, embed.

Pictures are sent as data URIs, base64, files (`multipart/form-data`), or named in a collection; by address where the
service allows it. A batch answers item by item: one bad picture never fails the others."""


def create_app(settings: ServiceSettings) -> FastAPI:
    """A FastAPI application that serves what the settings say.

    Raises:
        SettingsError: the settings cannot be used.
    """
    from anmok import __version__

    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="anmok",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        dependencies=[Depends(may_read)],
        docs_url=None,  # Swagger's page comes from a CDN
        redoc_url=None,
        redirect_slashes=False,  # a redirect repeats the Host header, which anybody may have written
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    for router in routers():
        app.include_router(router)
    if settings.immich:
        app.include_router(immich.router)
    handle_problems(app)
    if settings.origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Door, settings=settings, access=service.access, metrics=service.metrics)
    return app
