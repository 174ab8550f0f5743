"""The log: a line a change, in the form that was asked for, with the request that caused it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from intertie import logs
from intertie.agent.causes import Cause, because
from intertie.model.errors import Refused
from intertie.site_file import init_site, read_site
from tests.unit.api_lab import one_site, virtually


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.basicConfig(force=True)


def written(form: str) -> tuple[list[str], logs.Ring]:
    file = io.StringIO()
    ring = logs.configure(form, file)
    log = structlog.get_logger()
    with because(Cause("r-1")):
        log.info("change", what='+ network "blue"\nforged=line', ok=True)
    log.debug("nobody reads this")
    logging.getLogger("asyncio").warning("slow %s", "callback")
    try:
        raise ZeroDivisionError("x")
    except ZeroDivisionError:
        log.exception("round failed")
    return file.getvalue().splitlines(), ring


def test_json_is_one_object_a_line() -> None:
    lines, ring = written("json")
    change, slow, failed = map(json.loads, lines)
    assert (change["event"], change["request"], change["level"], change["ok"]) == ("change", "r-1", "info", True)
    assert change["what"].endswith("forged=line")
    assert change["timestamp"].endswith("Z")
    assert (slow["event"], slow["level"], slow["logger"]) == ("slow callback", "warning", "asyncio")
    assert "ZeroDivisionError" in failed["exception"]
    assert "request" not in failed
    assert [line.rstrip("\n") for line in ring.lines()] == lines


def test_logfmt_is_one_line_each() -> None:
    lines, _ = written("logfmt")
    assert len(lines) == 3
    assert lines[0].startswith("timestamp=")
    assert " level=info event=change " in lines[0]
    assert lines[0].endswith(" request=r-1") or " request=r-1 " in lines[0]
    assert "event=forged" not in lines[0]


def test_another_form_is_refused() -> None:
    with pytest.raises(Refused, match="xml"):
        logs.configure("xml")


def test_the_form_is_a_setting(tmp_path: Path) -> None:
    place = init_site("nantes", tmp_path / "site")
    assert read_site(place).log == "logfmt"
    with (place / "site.toml").open("a") as file:
        file.write('log = "json"\ncertificate_days = 14\n')
    assert (read_site(place).log, read_site(place).certificate_days) == ("json", 14)


def test_the_ring_is_bounded() -> None:
    ring = logs.Ring()
    for n in range(logs.KEPT + 5):
        ring.add(f"{n} {'x' * logs.LONGEST}\n")
    assert (len(ring.lines()), ring.lines()[0][:2]) == (logs.KEPT, "5 ")
    assert all(len(line) == logs.LONGEST + 1 for line in ring.lines())


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_is_lost_and_kept_in_memory() -> None:
    ring = logs.Ring()
    assert logs.Lines(Full(), ring).write("line\n") == 5
    assert ring.lines() == ("line\n",)


@virtually
async def test_who_only_looks_leaves_no_line() -> None:
    world, api = await one_site()
    ring = logs.configure("json", io.StringIO())
    await api.get("/v1/vpns", X_Request_Id="look")
    await api.get("/v1/vpns/none", X_Request_Id="none")
    await api.post("/v1/networks", {"name": "n", "prefix": "10.0.0.0/24"}, X_Request_Id="make")
    found = [json.loads(line) for line in ring.lines()]
    assert [(f["request"], f["status"]) for f in found if f["event"] == "request"] == [("none", 404), ("make", 201)]
    await world.close()
