"""Errors: one table, one shape, and nothing of our insides; limits on what is read."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

import intertie
from intertie.api.gate import MAX_BODY, UNDER_WAY
from intertie.api.problems import CODES, problem_of
from intertie.cli.problem import EXITS
from intertie.model.errors import Conflict, IntertieError, Refused, Unavailable
from tests.unit.api_lab import Api, federation, is_problem, one_site, virtually, wish

STATUSES = {
    401: ["unauthenticated"],
    403: ["forbidden"],
    404: ["not-found"],
    409: ["overlap", "name-taken", "in-use", "refused-by-member", "no-common-transport"],
    412: ["stale"],
    413: ["too-large"],
    422: ["invalid", "prefix-too-small", "unknown-site", "unknown-network"],
    428: ["precondition-required"],
    429: ["quota", "rate"],
    503: ["owner-silent", "storage"],
}
"""As docs/interface.md has them."""


def test_the_table_is_the_contracts() -> None:
    assert {code: status for status, codes in STATUSES.items() for code in codes}.items() <= {
        code: meaning.status for code, meaning in CODES.items()
    }.items()


OUTSIDE = ("cli", "client", "demo", "osc")
"""Which tell of what no agent says, too."""


def codes(inside: bool) -> set[str]:
    """Those that errors are made with, in the packages that agents are made of or in the others."""
    found = set()
    for path in Path(intertie.__file__).parent.rglob("*.py"):
        if (path.parts[-2] not in OUTSIDE) is not inside:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                found |= {
                    k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)
                }
            if isinstance(node, ast.ClassDef):
                for each in node.body:
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "default_code":
                        assert isinstance(each.value, ast.Constant)
                        found.add(each.value.value)
    return {code for code in found if isinstance(code, str) and code}


def test_every_code_in_the_source_is_in_the_table() -> None:
    texts = codes(inside=True)
    assert len(texts) > 10
    assert texts <= CODES.keys()


def test_every_code_of_a_client_has_an_exit() -> None:
    texts = codes(inside=False)
    assert {"usage", "unreachable", "silent", "broken", "partial"} <= texts
    assert texts <= EXITS.keys()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Conflict("x", code="new-reason"), 409),
        (Refused("x", code="new-reason"), 422),
        (Unavailable("x", code="new-reason"), 503),
        (Unavailable("x"), 503),
    ],
)
def test_a_reason_that_a_later_version_invents_still_has_a_status(error: IntertieError, status: int) -> None:
    told = problem_of(error)
    assert told.status == status
    assert told.code == error.code


@virtually
async def test_what_the_router_says_is_a_problem_too() -> None:
    world, api = await one_site()
    told = is_problem(await api.get("/v1/vpnz"), 404, "not-found")
    assert "/v1/vpnz" in told["detail"]
    response = await api.call("PATCH", "/v1/vpns")
    is_problem(response, 405, "method-not-allowed")
    assert "GET" in response.headers["allow"]
    # Of the resource, whichever routes it has (found by schemathesis: only those of the first were named).
    assert (await api.call("OPTIONS", "/v1/tokens")).headers["allow"] == "GET, POST"
    assert (await api.call("PATCH", "/v1/vpns/blue")).headers["allow"] == "DELETE, GET, PUT"
    is_problem(await api.get("/v1/vpns/"), 404, "not-found")
    await world.close()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["name", "kind", "attachments"]),
        ({"name": "b", "kind": "l4", "attachments": []}, ["kind"]),
        ({"name": "B b", "kind": "l2", "attachments": []}, ["name"]),
        (
            {"name": "b", "kind": "l2", "attachments": [{"site": "nantes"}, {"sit": "lyon"}]},
            ["attachments[1].site", "attachments[1].sit"],
        ),
        (
            {"name": "b", "kind": "l2", "attachments": [{"site": "nantes", "network": "a\nb"}]},
            ["attachments[0].network"],
        ),
        ({"name": "b", "kind": "l2", "attachments": [{"site": "x", "leaving": True}]}, ["attachments[0].leaving"]),
        ({"name": "b", "kind": "l2", "attachments": [{"site": "x", "prefixes": []}]}, ["attachments[0].prefixes"]),
        ([], ["body"]),
        ("text", ["body"]),
        (None, ["body"]),
    ],
)
@virtually
async def test_invalid_names_the_fields(body: Any, fields: list[str]) -> None:
    world, api = await one_site()
    told = is_problem(await api.post("/v1/vpns", body), 422, "invalid")
    assert sorted(f["field"] for f in told["fields"]) == sorted(fields)
    assert all(field in told["detail"] for field in fields)
    await world.close()


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "marker=!", "marker=%ff", "marker=aaaaa"])
@virtually
async def test_pages_that_cannot_be(query: str) -> None:
    world, api = await one_site()
    is_problem(await api.get(f"/v1/vpns?{query}"), 422, "invalid")
    await world.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b'{"name":"a","name":"b"}',
        b'{"n":NaN}',
        b'{"n":' + b"9" * 5000 + b"}",
    ],
)
@virtually
async def test_json_that_is_none_or_that_might_hurt(raw: bytes) -> None:
    world, api = await one_site()
    is_problem(await api.post("/v1/networks", raw, Content_Type="application/json"), 422, "invalid")
    await world.close()


@virtually
async def test_other_media_are_not_read() -> None:
    world, api = await one_site()
    told = is_problem(
        await api.post("/v1/networks", b"name=blue", Content_Type="application/x-www-form-urlencoded"),
        415,
        "unsupported-media-type",
    )
    assert "application/json" in told["hint"]
    # A body without a type is taken for JSON, and so are its relatives.
    raw = json.dumps({"name": "blue", "prefix": "10.0.0.0/24"}).encode()
    assert (await api.post("/v1/networks", raw)).status_code == 201
    is_problem(await api.post("/v1/networks", raw, Content_Type="application/vnd.x+json"), 409, "name-taken")
    await world.close()


@virtually
async def test_a_megabyte_is_the_most() -> None:
    world, api = await one_site()
    around = len(json.dumps({"name": ""}))
    fits = json.dumps({"name": "x" * (MAX_BODY - around)}).encode()
    assert len(fits) == MAX_BODY
    is_problem(await api.post("/v1/networks", fits), 422, "invalid")
    response = await api.post("/v1/networks", fits + b" ")
    is_problem(response, 413, "too-large")
    assert response.headers["connection"] == "close"
    await world.close()


@virtually
async def test_one_token_cannot_keep_the_agent_busy_with_waiting() -> None:
    world, apis = await federation("nantes", "lyon")
    api, token, other = apis["nantes"], await apis["nantes"].token("member"), await apis["nantes"].token("reader")
    await world.net("nantes", "blue", "10.0.0.0/24")
    world.isolate("lyon")
    body = wish("blue", "l2", "nantes:blue", "lyon")
    held = [
        asyncio.create_task(api.post("/v1/vpns", body, token, Prefer="wait=20", Idempotency_Key="k"))
        for _ in range(UNDER_WAY)
    ]
    await asyncio.sleep(1)
    is_problem(await api.get("/v1/vpns", token), 429, "rate")
    assert (await api.get("/v1/vpns", other)).status_code == 200
    assert {r.status_code for r in await asyncio.gather(*held)} == {201}
    assert (await api.get("/v1/vpns", token)).status_code == 200
    await world.close()


async def _sent(api: Api, messages: list[Message], headers: dict[str, str]) -> tuple[list[Message], int]:
    """The answer to a request that comes in these pieces, and how many of them were read."""
    answer: list[Message] = []
    read = 0

    async def receive() -> Message:
        nonlocal read
        read += 1
        return messages[read - 1]

    async def send(message: Message) -> None:
        answer.append(message)

    token = await api.token("member")
    given = {"authorization": f"Bearer {token}"} | headers
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/networks",
        "raw_path": b"/v1/networks",
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }
    await api.app(scope, receive, send)
    return answer, read


@virtually
async def test_a_body_that_never_ends_is_not_read_to_its_end() -> None:
    world, api = await one_site()
    piece: Message = {"type": "http.request", "body": b"x" * 65536, "more_body": True}
    answer, read = await _sent(api, [piece] * 1000, {})
    assert answer[0]["status"] == 413
    assert read <= MAX_BODY // 65536 + 1
    answer, read = await _sent(api, [piece], {"content-length": "5000000000"})
    assert (answer[0]["status"], read) == (413, 0)
    await world.close()


@virtually
async def test_a_caller_that_goes_away_while_it_speaks_gets_no_answer() -> None:
    world, api = await one_site()
    half: Message = {"type": "http.request", "body": b'{"name":', "more_body": True}
    answer, _ = await _sent(api, [half, {"type": "http.disconnect"}], {})
    assert answer == []
    await world.close()


@virtually
async def test_a_fault_of_ours_says_where_to_look_and_no_more() -> None:
    world, api = await one_site()

    def broken(*arguments: object) -> object:
        raise ZeroDivisionError("secret /var/lib/path")

    api.site.vpns.get = broken  # type: ignore[method-assign,assignment]
    response = await api.get("/v1/vpns/blue", X_Request_Id="mine-1")
    told = is_problem(response, 500, "internal")
    assert "mine-1" in told["hint"]
    assert response.headers["x-request-id"] == "mine-1"
    assert "secret" not in response.text
    assert "ZeroDivision" not in response.text
    await world.close()


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "é", "<script>"])
@virtually
async def test_a_request_id_that_is_not_decent_is_replaced(given: str) -> None:
    world, api = await one_site()
    response = await api.call("GET", "/livez", None, "", X_Request_Id=given.encode())  # type: ignore[arg-type]
    assert len(response.headers["x-request-id"]) == 16
    assert (await api.get("/livez", X_Request_Id="a.B_c:-9")).headers["x-request-id"] == "a.B_c:-9"
    await world.close()


@virtually
async def test_a_path_with_a_line_break_stays_one_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    world, api = await one_site()
    capsys.readouterr()
    await api.get("/v1/vpns/a%0aevent=forged")
    lines = [line for line in capsys.readouterr().out.splitlines() if "request" in line]
    assert len(lines) == 1
    assert "%0a" in lines[0].lower()
    await world.close()


@virtually
async def test_answers_are_for_this_moment_and_of_their_stated_type() -> None:
    world, api = await one_site()
    for path in ("/v1/site", "/v1/nothing", "/metrics"):
        headers = (await api.get(path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    await world.close()
