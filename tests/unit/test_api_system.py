"""What is open to all: readiness, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from intertie.agent.agent import Agent, Settings
from intertie.api import build
from intertie.store.memory import MemoryStore
from tests.unit.api_lab import Api, federation, is_problem, one_site, virtually, wish

STATIC = files("intertie.api") / "static"
PAGE = ("docs.html", "docs.css", "docs.js")


@virtually
async def test_ready_once_the_store_is_open_and_a_round_has_run() -> None:
    world, api = await one_site()
    assert (await api.get("/readyz", "")).status_code == 200
    rounds = api.site.rounds
    counted, rounds.rounds = rounds.rounds, 0
    response = await api.get("/readyz", "")
    told = is_problem(response, 503, "starting")
    assert "round" in told["detail"]
    assert response.headers["retry-after"] == "1"
    assert (await api.get("/livez", "")).status_code == 200
    rounds.rounds = counted
    agent = Agent(
        Settings(name="n", version="0"),
        replace(api.site.agent.ports, store=MemoryStore(site="n")),
    )
    closed = Api(api.site, api.services, build(replace(api.services, agent=agent)))
    assert "store" in is_problem(await closed.get("/readyz", ""), 503, "starting")["detail"]
    await world.close()


@virtually
async def test_metrics_are_the_agents_own_figures() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    await world.net("nantes", "blue", "10.0.0.0/24")
    await api.post("/v1/vpns", wish("blue", "l2", "nantes:blue", "lyon"), Prefer="wait=10")
    await world.until(lambda: world.phase("nantes", "blue") == "ready")
    response = await api.get("/metrics", "")
    assert response.headers["content-type"].startswith("text/plain")
    found = {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(response.text)
        for s in family.samples
    }
    assert found["intertie_peers", (("state", "up"),)] == 1
    assert found["intertie_peers", (("state", "silent"),)] == 0
    assert found["intertie_vpns", (("phase", "ready"),)] == 1
    assert found["intertie_records", (("home", "nantes"), ("kind", "vpn"))] == 1
    assert found["intertie_rounds_total", (("outcome", "ok"),)] == api.site.rounds.rounds > 0
    changing = ("ensure", "remove")
    asked = sum(
        n for (name, labels), n in found.items() if name == "intertie_driver_calls_total" and labels[1][1] in changing
    )
    assert asked == sum(event.kind == "change" for event in api.site.agent.events) > 0
    assert 0 < found["intertie_peer_rtt_seconds", (("peer", "lyon"),)] < 1
    assert any(name == "intertie_build_info" for name, _ in found)
    assert any(name.startswith("process_") for name, _ in found)
    await world.close()


# ── The document ───────────────────────────────────────────────────────────────────────────────────────────


async def document() -> Any:
    world, api = await one_site()
    told = (await api.get("/openapi.json", "")).json()
    await world.close()
    return told


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(v) for v in value.values()))
    return set().union(*(references(v) for v in value)) if isinstance(value, list) else set()


@virtually
async def test_the_document_is_whole() -> None:
    told = await document()
    assert told["openapi"].startswith("3.1")
    for reference in references(told):
        at = told
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
    ids = []
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            ids.append(operation["operationId"])
            assert operation["summary"], path
            assert operation["tags"], path
            if not path.startswith("/v1"):
                continue
            assert operation["security"] == [{"token": []}], path
            for status in ("401", "403", "422"):
                content = operation["responses"][status]["content"]
                assert content.keys() == {"application/problem+json"}, (method, path, status)
    assert len(ids) == len(set(ids))
    assert "HTTPValidationError" not in told["components"]["schemas"]
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    pair = told["components"]["schemas"]["PairView"]["properties"]
    assert "from" in pair
    assert "from_" not in pair


@virtually
async def test_the_examples_of_requests_are_accepted() -> None:
    """What the page fills in is a request that the API can read."""
    told = await document()
    vpn = told["components"]["schemas"]["VpnWish"]["properties"]
    body = {"name": vpn["name"]["examples"][0], "kind": "l2", "attachments": vpn["attachments"]["examples"][0]}
    world, apis = await federation("nantes", "lyon")
    await world.net("nantes", "blue", "10.0.0.0/24")
    assert (await apis["nantes"].post("/v1/vpns", body)).status_code == 201
    network = told["components"]["schemas"]["NetworkWish"]["properties"]
    body = {"name": "n", "prefix": network["prefix"]["examples"][0]}
    assert (await apis["nantes"].post("/v1/networks", body)).status_code == 201
    await world.close()


# ── The page ───────────────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_the_page_comes_whole_from_the_agent() -> None:
    world, api = await one_site()
    page = await api.get("/docs", "")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    wanted = re.findall(r'(?:href|src)="(/[^"]+)"', page.text)
    assert {"/docs/docs.css", "/docs/docs.js"} <= set(wanted)
    for path in wanted:
        assert (await api.get(path, "")).status_code == 200, path
    moved = await api.get("/", "")
    assert (moved.status_code, moved.headers["location"]) == (307, "/docs")
    await world.close()


@pytest.mark.parametrize("name", PAGE)
def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_it_is_told(name: str) -> None:
    text = (STATIC / name).read_text()
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|eval|document\.write)\b|style=|\son\w+=\"", text)


def test_the_page_is_small() -> None:
    assert sum((STATIC / name).read_text().count("\n") for name in PAGE) <= 300
