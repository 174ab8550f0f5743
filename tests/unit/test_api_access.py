"""Who may do what: every operation × every kind of caller, and that no path was forgotten."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx
import pytest

from intertie.api import trusted
from intertie.api.app import ROUTERS
from intertie.api.auth import OPEN
from intertie.api.openapi import role_of
from intertie.testing.federation import World
from tests.unit.api_lab import DEMO, Api, federation, is_problem, one_site, virtually, wish


class Operation(NamedTuple):
    method: str
    path: str
    needs: str
    status: int
    body: Any = None
    foreign: int = 0
    """What a member of another project gets, where that differs from what its role gets."""

    @property
    def template(self) -> str:
        return f"{self.method.lower()} {self.path.partition('?')[0]}"


BLUE = wish("blue", "l2", "nantes:blue", "lyon")

# In this order, so that what one operation ends no later one needs.
OPERATIONS = (
    Operation("GET", "/v1/site", "reader", 200),
    Operation("GET", "/v1/peers", "reader", 200),
    Operation("GET", "/v1/peers/lyon", "reader", 200),
    Operation("POST", "/v1/peers/lyon/approve", "admin", 200),
    Operation("POST", "/v1/peers/lyon/mappings", "admin", 201, {"theirs": "guests", "ours": "demo"}),
    Operation("GET", "/v1/peers/lyon/mappings", "reader", 200),
    Operation("GET", "/v1/mappings", "reader", 200),
    Operation("POST", "/v1/invitations", "admin", 201, {"name": "brest"}),
    Operation("GET", "/v1/networks", "reader", 200),
    Operation("POST", "/v1/networks", "member", 201, {"name": "new", "prefix": "10.9.0.0/24"}),
    Operation("GET", "/v1/networks/idle", "reader", 200, foreign=404),
    Operation("GET", "/v1/hosts", "reader", 200),
    Operation("POST", "/v1/hosts", "member", 201, {"name": "h2", "network": "blue"}, foreign=404),
    Operation("GET", "/v1/hosts/h1", "reader", 200, foreign=404),
    Operation("GET", "/v1/vpns", "reader", 200),
    Operation("GET", "/v1/vpns/blue", "reader", 200, foreign=404),
    Operation("POST", "/v1/vpns?plan=true", "member", 200, wish("other", "l2", "nantes:idle", "lyon"), foreign=422),
    Operation("PUT", "/v1/vpns/blue", "member", 200, {"attachments": BLUE["attachments"]}, foreign=404),
    Operation("POST", "/v1/vpns/blue/verify", "reader", 200, foreign=404),
    Operation("POST", "/v1/vpns/far/adopt?force=true", "admin", 200),
    # Nothing waits: who may ask hears that.
    Operation("DELETE", "/v1/vpns/blue/proposals/none", "member", 404),
    Operation("GET", "/v1/tokens", "admin", 200),
    Operation("POST", "/v1/tokens", "admin", 201, {"project": "demo", "role": "reader"}),
    Operation("DELETE", "/v1/tokens/TOKEN", "admin", 204),
    Operation("GET", "/v1/plan", "reader", 200),
    Operation("POST", "/v1/gc", "admin", 200),
    Operation("GET", "/v1/bundle", "admin", 200),
    Operation("DELETE", "/v1/networks/idle", "member", 204, foreign=404),
    Operation("DELETE", "/v1/hosts/h1", "member", 204, foreign=404),
    Operation("DELETE", "/v1/vpns/blue?force=true", "member", 204, foreign=404),
    Operation("POST", "/v1/peers", "admin", 201, {"token": "INVITATION"}),
    Operation("DELETE", "/v1/peers/rennes", "admin", 204),
    # A Vpn, `far`, still binds this site: who may leave hears that.
    Operation("POST", "/v1/site/leave", "admin", 409),
)
UNTRIED = {"get /v1/events"}
"""Its stream does not end: test_api_events.py."""
ROLES = ("reader", "member", "admin")


async def everything() -> tuple[World, Api, dict[str, str]]:
    """nantes with one of each thing in project demo, and what stands for the names in OPERATIONS."""
    world, apis = await federation("nantes", "lyon")
    nantes = apis["nantes"]
    for site, name, prefix in (
        ("nantes", "blue", "10.0.0.0/24"),
        ("nantes", "idle", "10.1.0.0/24"),
        ("nantes", "west", "10.2.0.0/24"),
        ("lyon", "east", "10.3.0.0/24"),
    ):
        await world.net(site, name, prefix)
    await world.vpn("nantes", "blue", "l2", "nantes:blue", "lyon")
    await world.vpn("lyon", "far", "l3", "lyon:east", "nantes:west")
    await nantes.site.networks.create_host(DEMO, "h1", "idle")
    await nantes.site.networks.delete_host(DEMO, "h1")
    await nantes.site.networks.create_host(DEMO, "h1", "blue")
    rennes = await world.site("rennes")
    invitation, _ = await rennes.enrolment.invite("nantes")
    spare = await nantes.site.tokens.create("demo", "reader")
    return world, nantes, {"INVITATION": invitation, "TOKEN": spare.id}


async def tried(api: Api, names: dict[str, str], operation: Operation, token: str) -> httpx.Response:
    path = operation.path.replace("TOKEN", names["TOKEN"])
    body = operation.body
    if body == {"token": "INVITATION"}:
        body = {"token": names["INVITATION"]}
    return await api.call(operation.method, path, body, token, If_Match="*")


def expected(operation: Operation, caller: str) -> int:
    if caller == "none":
        return 401
    role = "member" if caller == "foreign" else caller
    if ROLES.index(role) < ROLES.index(operation.needs):
        return 403
    return (operation.foreign if caller == "foreign" else 0) or operation.status


@pytest.mark.parametrize("caller", ["none", "reader", "member", "admin", "foreign"])
@virtually
async def test_every_operation_for_every_caller(caller: str) -> None:
    world, api, names = await everything()
    token = ""
    if caller != "none":
        foreign = caller == "foreign"
        token = await api.token("member" if foreign else caller, "other" if foreign else "demo")
    networks, hosts, vpns = api.site.networks.all(DEMO), api.site.networks.hosts(DEMO), api.site.vpns.all(DEMO)
    ours = {each.id for found in (networks, hosts, vpns) for each in found}
    for operation in OPERATIONS:
        before = (len(api.site.agent.table), api.site.agent.table.last(), dict(api.site.agent.local))
        response = await tried(api, names, operation, token)
        assert response.status_code == expected(operation, caller), (operation, response.text)
        if response.status_code in (401, 403, 404):
            codes = {401: "unauthenticated", 403: "forbidden", 404: "not-found"}
            is_problem(response, response.status_code, codes[response.status_code])
            assert before == (len(api.site.agent.table), api.site.agent.table.last(), dict(api.site.agent.local))
        if caller == "foreign" and response.is_success:
            assert not any(id in response.text for id in ours), operation
    await world.close()


@virtually
async def test_the_matrix_has_every_operation_and_the_role_it_needs() -> None:
    world, api = await one_site()
    paths = (await api.get("/openapi.json", "")).json()["paths"]
    listed = {
        f"{method} {path}": told
        for path, methods in paths.items()
        for method, told in methods.items()
        if "/v1" in path
    }
    filled = {_filled(key): told["x-role"] for key, told in listed.items() if key not in UNTRIED}
    assert filled == {o.template: o.needs for o in OPERATIONS} | {"post /v1/vpns": "member"}
    await world.close()


def _filled(key: str) -> str:
    """The template's path, with the names that OPERATIONS uses."""
    method, path = key.split()
    head, _, tail = path.removeprefix("/v1/").partition("/")
    names = {
        "networks": "idle",
        "hosts": "h1",
        "vpns": "far" if tail.endswith("adopt") else "blue",
        "tokens": "TOKEN",
    }
    peer = "rennes" if method == "delete" else "lyon"
    return key.replace("{proposal}", "none").replace("{id}", names.get(head, "")).replace("{name}", peer)


def test_no_route_of_v1_does_without_a_role() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    assert len(routes) == len(OPERATIONS) + len(UNTRIED)
    for route in routes:
        assert role_of(route.dependant) is not None, route  # type: ignore[attr-defined]


@virtually
async def test_what_is_open_to_all_is_a_short_list() -> None:
    world, api = await one_site()
    paths = set((await api.get("/openapi.json", "")).json()["paths"])
    assert {path for path in paths if not path.startswith("/v1/")} <= OPEN
    assert not any(path.startswith("/v1") for path in OPEN)
    for path in sorted(OPEN):
        assert (await api.get(path, "")).status_code in (200, 307), path
    for path in ("/nothing", "/v1", "/v1/", "/docs/", "/docs/../v1/site", "/metrics/", "/livez/x", "/v1/nothing"):
        is_problem(await api.get(path, ""), 401, "unauthenticated")
    await world.close()


@pytest.mark.parametrize(
    "given",
    ["Bearer", "Bearer ", "Basic aXQ=", "itk_guess", "Bearer itk_guess", "Bearer itk_\xe9", "Bearer " + "x" * 9000],
)
@virtually
async def test_what_is_no_token_of_ours(given: str) -> None:
    world, api = await one_site()
    response = await api.call("GET", "/v1/site", None, "", Authorization=given.encode("latin-1"))  # type: ignore[arg-type]
    is_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "itk_guess" not in response.text
    await world.close()


@virtually
async def test_a_revoked_token_is_refused_from_the_next_request_on() -> None:
    world, api = await one_site()
    made = (await api.post("/v1/tokens", {"project": "demo", "role": "admin"})).json()
    assert (await api.get("/v1/tokens", made["token"])).status_code == 200
    assert (await api.call("DELETE", f"/v1/tokens/{made['id']}", None, made["token"])).status_code == 204
    is_problem(await api.get("/v1/tokens", made["token"]), 401, "unauthenticated")
    await world.close()


@virtually
async def test_tokens_are_shown_once_and_kept_hashed() -> None:
    world, api = await one_site()
    made = (await api.post("/v1/tokens", {"project": "demo", "role": "member"})).json()
    listed = (await api.get("/v1/tokens")).json()["items"]
    assert [t["token"] for t in listed] == [""]
    assert made["token"] not in str(api.site.agent.local)
    await world.close()


@virtually
async def test_the_operators_socket_speaks_for_the_project_that_it_names() -> None:
    world, api = await one_site()
    body = {"name": "blue", "prefix": "10.0.0.0/24"}
    assert (await api.post("/v1/networks", body)).json()["project"] == "demo"
    assert (await api.post("/v1/networks", body, X_Intertie_Project="lab")).json()["project"] == "lab"
    assert len((await api.get("/v1/networks")).json()["items"]) == 2
    is_problem(await api.get("/v1/site", X_Intertie_Project="No Project"), 422, "invalid")
    await world.close()


@virtually
async def test_on_tcp_the_projects_header_and_a_forged_scope_mean_nothing() -> None:
    world, api = await one_site()
    is_problem(
        await api.get("/v1/site", "", X_Intertie_Project="demo", X_Intertie_Operator="1"), 401, "unauthenticated"
    )
    token = await api.token("member")
    made = await api.post("/v1/networks", {"name": "n", "prefix": "10.0.0.0/24"}, token, X_Intertie_Project="lab")
    assert made.json()["project"] == "demo"
    await world.close()


@virtually
async def test_a_token_counts_also_on_the_socket() -> None:
    world, api = await one_site()
    token = await api.token("reader")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(trusted(api.app)), base_url="http://site") as client:
        headers = {"Authorization": f"Bearer {token}"}
        is_problem(await client.post("/v1/tokens", json={}, headers=headers), 403, "forbidden")
    await world.close()


@virtually
async def test_a_tenant_sees_only_the_mappings_onto_its_project() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    await api.post("/v1/peers/lyon/mappings", {"theirs": "secret", "ours": "other"})
    tenant = await api.token("reader")
    for path in ("/v1/mappings", "/v1/peers/lyon/mappings"):
        assert [m["ours"] for m in (await api.get(path, tenant)).json()["items"]] == ["demo"]
        assert len((await api.get(path)).json()["items"]) == 2
    is_problem(await api.get("/v1/peers/mars/mappings", tenant), 404, "not-found")
    await world.close()


@virtually
async def test_a_plan_shows_a_tenant_its_own_project_only() -> None:
    world, api = await one_site()
    await world.net("nantes", "blue", "10.0.0.0/24")
    site = world.running["nantes"]
    await api.post("/v1/networks", {"name": "green", "prefix": "10.1.0.0/24"}, X_Intertie_Project="other")
    for bridge in list(world.systems["nantes"].bridges):
        del world.systems["nantes"].bridges[bridge]
    everything = (await api.get("/v1/plan")).json()
    assert {c["text"].split()[2] for c in everything["changes"]} == {"blue", "green"}
    mine = (await api.get("/v1/plan", await api.token("reader"))).json()
    assert [(c["op"], c["what"], c["site"]) for c in mine["changes"]] == [("+", "network", "nantes")]
    assert "green" not in str(mine)
    assert mine["base_version"] == f"{site.agent.incarnation}.{site.agent.table.last().seq}"
    await world.close()
