"""Nonsense in every place of every request: an answer always, never a fault of ours, and nothing half-made."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from intertie.model.codec import decode
from intertie.model.records import Kind
from tests.unit.api_lab import Api, federation, virtually, wish

REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v1/vpns", wish("v", "l2", "nantes:blue", "lyon") | {"transport": "vxlan", "require": "any"}),
    ("PUT", "/v1/vpns/stretch", {"name": "x", "attachments": wish("v", "l2", "nantes:red", "lyon")["attachments"]}),
    ("POST", "/v1/networks", {"name": "n", "prefix": "10.8.0.0/24", "prefixes": [], "bridge": "", "mtu": 1400}),
    ("POST", "/v1/hosts", {"name": "h", "network": "blue", "addresses": ["10.0.0.9"]}),
    ("POST", "/v1/invitations", {"name": "brest", "expires_in": 60}),
    ("POST", "/v1/peers", {"token": "nantes lyon 192.0.2.2:7576 secret"}),
    ("POST", "/v1/peers/lyon/mappings", {"theirs": "a", "ours": "b", "may": ["l2"]}),
    ("POST", "/v1/tokens", {"project": "demo", "role": "reader"}),
)
STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**18, 1e308, "", " ", "a\nb", "\x00", "é", "\ud83d\ude00", "-", ".", "..", "/", "*", "%s"),
    *("0.0.0.0/0", "::/0", "224.0.0.0/4", "127.0.0.0/8", "10.0.0.0/24", "fe80::/10", "255.255.255.255", "::", "0"),
    *("nantes", "lyon", "mars", "a" * 64, "x" * 5000, [], [[]], [None], {}, {"site": "nantes"}, ["10.0.0.1"] * 20),
)


def spoilt(body: Any, chance: random.Random) -> Any:
    """The request with one part of it replaced, doubled or left out."""
    if isinstance(body, dict) and body and chance.random() < 0.9:
        key = chance.choice(sorted(body))
        what = chance.random()
        if what < 0.1:
            return {k: v for k, v in body.items() if k != key}
        if what < 0.2:
            return body | {chance.choice(["x", "from", "__class__", ""]): 1}
        return body | {key: spoilt(body[key], chance)}
    if isinstance(body, list) and body and chance.random() < 0.8:
        at = chance.randrange(len(body))
        return body * 2 if chance.random() < 0.2 else [*body[:at], spoilt(body[at], chance), *body[at + 1 :]]
    return chance.choice(STRANGE)


async def lab() -> tuple[Any, Api]:
    world, apis = await federation("nantes", "lyon")
    await world.net("nantes", "blue", "10.0.0.0/24")
    await world.net("nantes", "red", "10.1.0.0/24")
    await world.vpn("nantes", "stretch", "l2", "nantes:red", "lyon")
    return world, apis["nantes"]


@pytest.mark.parametrize("seed", range(8))
@virtually
async def test_nonsense_is_answered_and_makes_nothing(seed: int) -> None:
    world, api = await lab()
    chance = random.Random(seed)
    refused = 0
    for _ in range(60):
        method, path, body = chance.choice(REQUESTS)
        before = api.site.agent.table.last()
        raw = json.dumps(spoilt(body, chance)).encode()
        answer = await api.call(method, path, raw, If_Match="*")
        assert answer.status_code < 500 or answer.json()["code"] in ("owner-silent", "storage"), (
            path,
            raw,
            answer.text,
        )
        if answer.is_error:
            refused += 1
            assert answer.headers["content-type"] == "application/problem+json", (path, raw)
            assert answer.json()["detail"], (path, raw)
            assert api.site.agent.table.last() == before, (path, raw)
    assert refused > 20
    # Whatever was made can be read again, here after a restart and by every peer.
    for record in (r for kind in Kind for r in api.site.agent.table.all_of(kind)):
        assert decode(record.raw, record.signature).body == record.body
    await world.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"If_Match": "\x7f"},
        {"If_Match": '"' * 3000},
        {"If_Match": "*", "Prefer": "wait=" + "9" * 5000},
        {"If_Match": "*", "Prefer": ",;=,"},
        {"If_Match": "*", "Idempotency_Key": "x" * 5000},
        {"If_Match": "*", "X_Intertie_Project": "../x"},
        {"If_Match": "*", "Authorization": "Bearer " + "x" * 5000},
        {"If_Match": "*", "X_Request_Id": "x" * 5000},
    ],
)
@virtually
async def test_headers_of_nonsense(headers: dict[str, str]) -> None:
    world, api = await lab()
    for method, path, body in REQUESTS[:2]:
        answer = await api.call(method, path, body, **headers)
        assert answer.status_code < 500, answer.text
    await world.close()
