"""docs/partitions.md is what the table says, the table is whole, and every test that the page names is there."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections import defaultdict
from typing import Any, cast

import httpx
from fastapi import APIRouter
from fastapi.routing import APIRoute

from intertie.api import system
from intertie.api.app import ROUTERS
from intertie.testing.federation import World
from tests.federation.partitions import table, test_cells
from tests.federation.partitions.lab import HOME, THREE, Lab
from tests.federation.partitions.situations import SITUATIONS
from tools import partitions

IN_LISTS = {
    "get /v1/networks/{id}",
    "get /v1/hosts/{id}",
    "get /v1/peers/{name}",
    "get /v1/peers/{name}/mappings",
}
"""They show one of what a list shows, and are made by the same functions."""
UNTRIED = {"get /v1/events", "delete /v1/vpns/{id}/proposals/{proposal}"}
"""A stream of what happens here, for as long as somebody listens: test_api_events.py. What waits for a home that is
silent, withdrawn: tests/federation/test_proposals.py."""


def test_the_page_is_up_to_date() -> None:
    assert partitions.PAGE.read_text() == partitions.page(), "write it anew: .venv/bin/python tools/partitions.py"


def test_every_operation_has_a_cell_in_every_situation_and_none_is_left_over() -> None:
    assert set(table.CELLS) == {s.id for s in SITUATIONS}
    for situation in SITUATIONS:
        wanted = {o.id for o in table.OPERATIONS if table.has_cell(situation, o)}
        assert wanted <= table.CELLS[situation.id].keys(), situation.id
    assert {o.id for o in table.OPERATIONS} == {id for cells in table.CELLS.values() for id in cells}


def test_every_test_that_the_page_names_is_there() -> None:
    cases = {f"{table.FILE}::test_cell[{s.id}:{o.id}]" for s, o in test_cells.CASES}
    cases |= {f"{table.FILE}::test_looks[{s.id}]" for s in SITUATIONS}
    for name in partitions.named_tests():
        if name in cases:
            continue
        path, _, function = name.partition("::")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert callable(getattr(module, function, None)), name


class Recorder(Lab):
    """Notes what is asked for, and asks nobody."""

    asked: set[str]

    async def ask(self, method: str, path: str, body: Any = None, **_: Any) -> httpx.Response:
        self.asked.add(f"{method.lower()} {path.partition('?')[0]}")
        return httpx.Response(200, json={})


def test_every_operation_of_the_api_is_in_the_table() -> None:
    recorder = Recorder(cast(World, None), HOME, THREE, noted=defaultdict(lambda: "x"))
    recorder.asked = set()
    for operation in table.OPERATIONS:
        asyncio.run(cast(Any, operation.ask(recorder)))
    served = {f"{m.lower()} /v1{r.path}" for router in ROUTERS for r in _routes(router) for m in r.methods or ()}
    served |= {f"get {r.path}" for r in _routes(system.router) if r.include_in_schema}
    tried = {one for one in served for asked in recorder.asked if _is(one, asked)}
    assert tried == served - IN_LISTS - UNTRIED
    assert served >= IN_LISTS | UNTRIED


def _routes(router: APIRouter) -> list[APIRoute]:
    return [route for route in router.routes if isinstance(route, APIRoute)]


def _is(served: str, asked: str) -> bool:
    return re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(served)), asked) is not None


def test_each_operation_of_a_group_has_its_own_name() -> None:
    ids = [o.id for o in table.OPERATIONS]
    assert len(ids) == len(set(ids))
    words = [o.words for o in table.OPERATIONS]
    assert len(words) == len(set(words))
