"""The parts put together."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from intertie.api import bundle, events, gc, metrics, networks, plan, problems, sites, system, tokens, vpns
from intertie.api.auth import Door
from intertie.api.gate import Access, Crowd, Limits
from intertie.api.openapi import document
from intertie.api.openapi import problems as problem_responses
from intertie.api.services import Services

ROUTERS = (
    sites.site,
    sites.invitations,
    sites.peers,
    sites.mappings,
    networks.networks,
    networks.hosts,
    vpns.router,
    tokens.router,
    events.router,
    plan.router,
    gc.router,
    bundle.router,
)


def _operation(route: APIRoute) -> str:
    return route.name


class Api(FastAPI):
    """FastAPI with our document."""

    def openapi(self) -> dict[str, Any]:
        return document(self, ROUTERS)


def build(services: Services) -> FastAPI:
    """The application. `end_streams` before the server is told to stop."""
    app = Api(
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        generate_unique_id_function=_operation,
    )
    app.state.services = services
    app.state.feed = events.Feed(services)
    app.state.metrics = metrics.registry(services)
    problems.install(app)
    v1 = APIRouter(prefix="/v1", responses=problem_responses("unauthenticated", "forbidden", "invalid", "rate"))
    for router in ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(system.router)
    # The last one added is the first that a request meets.
    app.add_middleware(Limits)
    app.add_middleware(Crowd)
    app.add_middleware(Door, services=services)
    app.add_middleware(Access, services=services)
    return app


def end_streams(app: FastAPI) -> None:
    """End every event stream, so that the server's connections can close."""
    cast(events.Feed, app.state.feed).close()
