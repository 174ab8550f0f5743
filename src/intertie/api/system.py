"""Paths for machines and for the curious, open to all: /livez, /readyz, /metrics, /docs."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, RedirectResponse

from intertie.api.openapi import problems
from intertie.api.problems import refusal
from intertie.api.services import Uses
from intertie.model.errors import Unavailable

router = APIRouter(tags=["system"])

STATIC = files("intertie.api") / "static"
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"
"""The page takes everything from this agent, and nothing from anywhere else."""


@router.get("/livez", summary="Alive?", response_class=PlainTextResponse)
async def livez() -> PlainTextResponse:
    """200 while the agent answers at all."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", summary="Ready?", response_class=PlainTextResponse, responses=problems("starting", "storage"))
async def readyz(use: Uses) -> Response:
    """200 once the store is open and one round has looked at everything; 503 before, and while the store cannot be
    written."""
    if problem := use.agent.figures.store_problem:
        return refusal(Unavailable(problem, code="storage", hint="see to the disk"), {"Retry-After": "5"})
    if use.agent.incarnation and use.rounds.rounds:
        return PlainTextResponse("ok\n")
    missing = "the first round has not run" if use.agent.incarnation else "the store is not open"
    return refusal(Unavailable(missing, code="starting", hint="try again in a second"), {"Retry-After": "1"})


@router.get("/metrics", summary="Metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    registry: CollectorRegistry = request.app.state.metrics
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def root() -> Response:
    return RedirectResponse("/docs")


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    return _file("docs.html")


@router.get("/docs/docs.css", include_in_schema=False)
async def docs_style() -> Response:
    return _file("docs.css")


@router.get("/docs/docs.js", include_in_schema=False)
async def docs_script() -> Response:
    return _file("docs.js")


def _file(name: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
    return Response((STATIC / name).read_bytes(), headers=headers, media_type=TYPES[name.rpartition(".")[2]])
