"""Exit codes: what every failure is worth, and how it is told to people and to programs."""

from __future__ import annotations

import json
import re
import socket

import pytest

from intertie.cli.problem import EXITS, Exit
from tests.unit.cli_run import Runner
from tests.unit.cli_site import Answer, Site, member, problem, vpn

REFUSED_CODES = [
    ("forbidden", 403),
    ("overlap", 409),
    ("name-taken", 409),
    ("in-use", 409),
    ("refused-by-member", 409),
    ("no-common-transport", 409),
    ("too-large", 413),
    ("prefix-too-small", 422),
    ("unknown-site", 422),
    ("unknown-network", 422),
    ("quota", 429),
]
OTHER_CODES = [
    ("unauthenticated", 401, 2),
    ("invalid", 422, 2),
    ("not-found", 404, 1),
    ("stale", 412, 1),
    ("precondition-required", 428, 1),
    ("rate", 429, 1),
    ("storage", 503, 1),
    ("failed", 409, 1),
    ("starting", 503, 1),
    ("internal", 500, 1),
    ("owner-silent", 503, 3),
    ("invented-tomorrow", 418, 1),
]
ALL_CODES = [*((code, status, 4) for code, status in REFUSED_CODES), *OTHER_CODES]
CREATE = ("vpn", "create", "blue", "--kind", "l2", "-a", "nantes:blue", "-a", "lyon")


@pytest.mark.parametrize(("code", "status", "exit"), ALL_CODES)
def test_a_problem_is_told_in_words_and_as_an_exit_code(
    cli: Runner, site: Site, code: str, status: int, exit: int
) -> None:
    site.on("POST", "/v1/vpns", problem(code, status, "lyon: no room", "ask lyon", ["lyon"]))
    said = cli(*CREATE)
    assert said.code == exit
    assert said.err == "error: lyon: no room\nhint: ask lyon\n"
    assert said.out == ""


@pytest.mark.parametrize(("code", "status", "exit"), ALL_CODES)
def test_with_json_the_problem_is_the_agents_own(cli: Runner, site: Site, code: str, status: int, exit: int) -> None:
    answer = problem(code, status, "lyon: no room", "ask lyon", ["lyon"])
    site.on("POST", "/v1/vpns", answer)
    said = cli(*CREATE, "-o", "json")
    assert said.code == exit
    assert json.loads(said.err) == answer.body
    assert said.out == ""


def test_every_code_of_the_interface_has_an_exit() -> None:
    assert {code for code, *_ in ALL_CODES} - {"invented-tomorrow"} <= EXITS.keys()


def test_nobody_listening_is_a_missing_prerequisite_that_says_how_to_start_one(cli: Runner) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        said = cli("vpn", "list", "--url", url)
        told = cli("vpn", "list", "--url", url, "-o", "json")
    assert said.code == told.code == Exit.USAGE
    assert said.err.startswith(f"error: no agent answers at {url}: ")
    assert "hint: start one: intertie init --name NAME --dir DIR, then intertie agent run --dir DIR" in said.err
    assert json.loads(told.err)["code"] == "unreachable"


@pytest.mark.parametrize(
    "words",
    [
        ("vpn", "create", "blue", "-a", "nantes"),
        ("vpn", "create", "blue", "--kind", "l4", "-a", "nantes"),
        ("vpn", "create", "blue", "--kind", "l2"),
        ("vpn", "list", "--no-such-option"),
        ("vpn", "list", "-o", "yaml"),
        ("vpn", "frobnicate"),
        ("nothing",),
        ("--url",),
    ],
)
def test_words_that_cannot_be_meant_are_usage(cli: Runner, words: tuple[str, ...]) -> None:
    said = cli(*words)
    assert said.code == Exit.USAGE
    assert re.fullmatch(r"error: .+\nhint: intertie.* --help\n", said.err)
    assert said.out == ""


@pytest.mark.parametrize(
    "noun",
    ["pool", "address", "search", "reservation", "calendar", "node", "link", "diagnose", "protection", "openstack"],
)
def test_reserved_nouns_are_not_defined(cli: Runner, noun: str) -> None:
    said = cli(noun, "list")
    assert said.code == Exit.USAGE
    assert "No such command" in said.err


def test_usage_with_json_is_a_problem_too(cli: Runner) -> None:
    said = cli("vpn", "create", "blue", "-o", "json")
    assert said.code == Exit.USAGE
    told = json.loads(said.err)
    assert told["code"] == "usage"
    assert told["status"] is None
    assert "--kind" in told["detail"]
    assert told["hint"] == "intertie vpn create --help"


def test_an_answer_that_is_no_problem_is_still_told(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/vpns", Answer("<html>Bad  Gateway</html>", 502, {"Content-Type": "text/html"}))
    said = cli("vpn", "list")
    assert (said.code, said.err) == (Exit.FAILED, "error: HTTP status 502: <html>Bad Gateway</html>\n")


def test_an_answer_that_is_no_json_is_told(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/vpns", Answer("<html>hello</html>", 200, {"Content-Type": "text/html"}))
    said = cli("vpn", "list")
    assert said.code == Exit.FAILED
    assert "not JSON" in said.err


def test_a_name_that_nobody_has(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/vpns", Answer({"items": [], "next": None}))
    site.on("GET", "/v1/vpns/green", problem("not-found", 404, "no Vpn green", "intertie vpn list"))
    said = cli("vpn", "show", "green")
    assert (said.code, said.err) == (Exit.FAILED, "error: no Vpn green\nhint: intertie vpn list\n")


def test_a_name_that_two_projects_have_is_asked_for_by_id(cli: Runner, site: Site) -> None:
    one, other = vpn(member("nantes")), vpn(member("nantes"), id="nantes.01k1blue", project="lab")
    site.on("GET", "/v1/vpns", Answer({"items": [one, other], "next": None}))
    said = cli("vpn", "show", "blue")
    assert said.code == Exit.USAGE
    assert "nantes.01k0blue (demo), nantes.01k1blue (lab)" in said.err


def test_verify_fails_when_one_pair_does_not_cross(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(member("nantes"), member("lyon")))
    end = {"site": "nantes", "host": "web", "address": "10.20.0.2"}
    good = {"from": end, "to": end, "rtt_ms": 0.5, "mtu": 1450, "ok": True, "broken_at": "", "hint": ""}
    bad = {**good, "ok": False, "rtt_ms": None, "mtu": 0, "broken_at": "underlay", "hint": "look at the path to lyon"}
    site.on("POST", "/v1/vpns/nantes.01k0blue/verify", Answer({"ok": False, "pairs": [good, bad]}))
    assert cli("vpn", "verify", "blue", "-o", "json").code == Exit.FAILED
    said = cli("vpn", "verify", "blue")
    assert said.code == Exit.FAILED
    assert "underlay   look at the path to lyon" in said.out
    site.on("POST", "/v1/vpns/nantes.01k0blue/verify", Answer({"ok": True, "pairs": [good]}))
    assert cli("vpn", "verify", "blue").code == Exit.OK
