"""What the tests of the API share: sites of a simulated federation, each with its API in this process."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from intertie.agent.access import Caller, Role
from intertie.api import Services, build, trusted
from intertie.testing.federation import Site, World
from intertie.testing.virtual_time import run

DEMO = Caller(project="demo", role=Role.ADMIN)


def virtually(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that runs in virtual time."""

    @functools.wraps(test)
    def inside(*args: Any, **kwargs: Any) -> None:
        run(_whole(test, args, kwargs))

    return inside


async def _whole(test: Callable[..., Awaitable[None]], args: Any, kwargs: Any) -> None:
    await test(*args, **kwargs)


def services_of(site: Site) -> Services:
    return Services(
        agent=site.agent,
        vpns=site.vpns,
        networks=site.networks,
        enrolment=site.enrolment,
        tokens=site.tokens,
        rounds=site.rounds,
        health=site.health,
    )


@dataclass(frozen=True)
class Api:
    """One site's API. Calls are the operator's unless a token is given; "" is no token at all."""

    site: Site
    services: Services
    app: FastAPI

    async def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        app = trusted(self.app) if token is None else self.app
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.request(method, path, headers=given, **content)

    async def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        return await self.call("GET", path, None, token, **headers)

    async def post(self, path: str, body: Any = None, token: str | None = None, **headers: str) -> httpx.Response:
        return await self.call("POST", path, body, token, **headers)

    async def token(self, role: str, project: str = "demo") -> str:
        return (await self.site.tokens.create(project, role)).token


def api_of(site: Site) -> Api:
    services = services_of(site)
    return Api(site, services, build(services))


async def one_site() -> tuple[World, Api]:
    world = World()
    return world, api_of(await world.site("nantes"))


async def federation(*names: str) -> tuple[World, dict[str, Api]]:
    """Sites that know each other; projects `demo` are mapped to each other."""
    world = World()
    for name in names:
        await world.site(name)
    await world.enrol(*names)
    return world, {name: api_of(site) for name, site in world.running.items()}


def wish(name: str, kind: str, *attachments: str) -> dict[str, Any]:
    """A Vpn's request; attachments as the command line writes them."""
    parts = [text.partition(":") for text in attachments]
    return {
        "name": name,
        "kind": kind,
        "attachments": [{"site": s, "network": n} if n else {"site": s} for s, _, n in parts],
    }


def is_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that the response is, whole."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "code", "hint", "sites"} <= told.keys()
    assert (told["status"], told["code"]) == (status, code)
    assert told["title"]
    assert told["detail"]
    return told
