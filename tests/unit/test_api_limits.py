"""Limits of the API that need no wire: what is refused is refused before it costs anything."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from intertie.agent import access
from intertie.api import auth, gate
from intertie.federation.rates import Rate
from tests.unit.api_lab import Api, is_problem, one_site, virtually


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was to cost nothing")


async def given(api: Api, text: str) -> Any:
    return await api.call("GET", "/v1/site", None, "", Authorization=text)


@pytest.mark.parametrize(
    "text",
    [
        "Bearer itk_" + "x" * 1024 * 1024,
        "Bearer itk_" + "x" * 200,
        "Bearer " + "x" * 1024 * 1024,
        "Bearer x",
        "Bearer",
        "Bearer  ",
        "x" * 1024 * 1024,
        "Basic itk_x",
    ],
    ids=lambda text: f"{text[:12]}-{len(text)}",
)
def test_what_cannot_be_a_token_is_not_hashed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @virtually
    async def story() -> None:
        world, api = await one_site()
        monkeypatch.setattr(access, "_hash", never)
        is_problem(await given(api, text), 401, "unauthenticated")
        await world.close()

    story()


@virtually
async def test_after_many_unknown_requests_the_next_is_refused_unseen_until_time_has_passed() -> None:
    world, api = await one_site()
    good = await api.token("reader")
    for _ in range(auth.UNKNOWN.burst):
        is_problem(await given(api, "Bearer itk_guess"), 401, "unauthenticated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "_hash", never)
        refused = await given(api, "Bearer itk_guess")
        is_problem(refused, 429, "rate")
        assert refused.headers["retry-after"] == "1"
        is_problem(await api.get("/metrics", ""), 429, "rate")
        is_problem(await api.get("/v1/site", ""), 429, "rate")
    # Who watches over the agent, and who runs it, are kept from nothing.
    assert (await api.get("/livez", "")).status_code == 200
    assert (await api.get("/readyz", "")).status_code == 200
    assert (await api.get("/v1/site")).status_code == 200
    await asyncio.sleep(1.0)
    assert (await api.get("/v1/site", good)).status_code == 200
    assert (await api.get("/metrics", "")).status_code == 200
    await world.close()


@virtually
async def test_requests_with_a_good_token_are_not_counted_among_the_unknown() -> None:
    world, api = await one_site()
    good = await api.token("reader")
    for _ in range(auth.UNKNOWN.burst * 2):
        assert (await api.get("/v1/site", good)).status_code == 200
    assert (await api.get("/metrics", "")).status_code == 200
    await world.close()


@virtually
async def test_one_token_has_a_rate_of_its_own() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "REQUESTS", Rate(5, per_second=1.0))
        world, api = await one_site()
        one, other = await api.token("reader"), await api.token("member")
        assert [(await api.get("/v1/site", one)).status_code for _ in range(7)] == [200] * 5 + [429] * 2
        assert (await api.get("/v1/site", other)).status_code == 200
        assert [(await api.get("/v1/site")).status_code for _ in range(7)] == [200] * 7
        await asyncio.sleep(1.0)
        assert (await api.get("/v1/site", one)).status_code == 200
        await world.close()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 13 + b"]" * 13, 422, "invalid"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, 422, "invalid"),
        (b"[" * (gate.MAX_BODY - 1), 422, "invalid"),
        (b"x" * (gate.MAX_BODY + 1), 413, "too-large"),
    ],
    ids=["thirteen", "thousands", "a megabyte", "too large"],
)
def test_size_and_depth_of_a_body_are_seen_before_it_is_parsed(
    body: bytes, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @virtually
    async def story() -> None:
        world, api = await one_site()
        with monkeypatch.context() as patch:
            patch.setattr("intertie.model.codec.json.loads", never)
            answer = await api.call("POST", "/v1/networks", body)
        is_problem(answer, status, code)
        await world.close()

    story()


@virtually
async def test_nothing_of_a_body_is_read_for_who_is_not_known() -> None:
    world, api = await one_site()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_whole", never)
        body = json.dumps({"name": "n", "prefix": "10.0.0.0/24"}).encode()
        is_problem(await api.call("POST", "/v1/networks", body, ""), 401, "unauthenticated")
        is_problem(await api.call("POST", "/v1/networks", body, "itk_guess"), 401, "unauthenticated")
    await world.close()
