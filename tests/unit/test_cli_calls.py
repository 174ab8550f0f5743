"""What each command asks of the API, and what it says when it was done."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from intertie.cli.problem import Exit
from intertie.cli.sites import seconds
from tests.unit.cli_run import Runner
from tests.unit.cli_site import Answer, Site, items, member, problem, vpn

MADE = {"id": "nantes.01k0net", "name": "blue", "prefixes": ["10.20.0.0/24"], "mtu": 1450}
HOST = {
    "id": "nantes.01k0web",
    "name": "web",
    "network": "blue",
    "address": "10.20.0.2",
    "addresses": ["10.20.0.2"],
    "mtu": 1450,
}
TOKEN = {"id": "1", "project": "demo", "role": "member", "created_at": "2026-11-22T02:00:00Z", "token": "itk_secret"}
MAPPING = {"peer": "lyon", "theirs": "demo", "ours": "lab", "may": ["l2"]}

POSTS: list[tuple[tuple[str, ...], str, Any, Any]] = [
    (("network", "create", "blue", "10.20.0.0/24"), "/v1/networks", {"name": "blue", "prefix": "10.20.0.0/24"}, MADE),
    (
        ("network", "create", "blue", "10.20.0.0/24,fd10::/64", "--bridge", "br0", "--mtu", "1400"),
        "/v1/networks",
        {"name": "blue", "prefix": "10.20.0.0/24,fd10::/64", "bridge": "br0", "mtu": 1400},
        MADE,
    ),
    (("host", "create", "web", "--network", "blue"), "/v1/hosts", {"name": "web", "network": "blue"}, HOST),
    (
        ("host", "create", "web", "--network", "blue", "--address", "10.20.0.9", "--address", "fd10::9"),
        "/v1/hosts",
        {"name": "web", "network": "blue", "addresses": ["10.20.0.9", "fd10::9"]},
        HOST,
    ),
    (
        ("token", "create", "--project", "lab", "--role", "admin"),
        "/v1/tokens",
        {"project": "lab", "role": "admin"},
        {**TOKEN, "project": "lab", "role": "admin"},
    ),
    (
        ("site", "invite", "lyon", "--expires", "30m"),
        "/v1/invitations",
        {"name": "lyon", "expires_in": 1800},
        {"token": "iti_x", "expires_at": "2026-11-22T03:30:00Z"},
    ),
    (("site", "join", "iti_x"), "/v1/peers", {"token": "iti_x"}, {"name": "nantes", "state": "up"}),
    (("site", "approve", "lyon"), "/v1/peers/lyon/approve", None, {"name": "lyon", "state": "up"}),
    (
        ("site", "map", "lyon", "demo", "lab"),
        "/v1/peers/lyon/mappings",
        {"theirs": "demo", "ours": "lab", "may": ["l2", "l3", "read"]},
        MAPPING,
    ),
    (
        ("site", "map", "lyon", "demo", "lab", "--may", "l2,reserve"),
        "/v1/peers/lyon/mappings",
        {"theirs": "demo", "ours": "lab", "may": ["l2", "reserve"]},
        MAPPING,
    ),
    (
        ("site", "map", "lyon", "demo", "lab", "--may", "none"),
        "/v1/peers/lyon/mappings",
        {"theirs": "demo", "ours": "lab", "may": []},
        {**MAPPING, "may": []},
    ),
]


@pytest.mark.parametrize(("words", "path", "body", "answer"), POSTS)
def test_what_is_made(cli: Runner, site: Site, words: tuple[str, ...], path: str, body: Any, answer: Any) -> None:
    site.on("POST", path, Answer(answer, 201))
    said = cli(*words)
    assert said.code == Exit.OK
    assert said.out or said.err
    asked = site.last("POST")
    assert (asked.path, asked.body) == (path, body)
    told = cli(*words, "-o", "json")
    assert (json.loads(told.out), told.err) == (answer, "")


def test_a_secret_is_alone_on_stdout(cli: Runner, site: Site) -> None:
    """So that INTERTIE_TOKEN=$(intertie token create …) is the token."""
    site.on("POST", "/v1/tokens", Answer({**TOKEN, "token": "itk_s"}, 201))
    assert cli("token", "create").out == "itk_s\n"
    assert site.last("POST").body == {"project": "demo", "role": "member"}
    site.on("POST", "/v1/invitations", Answer({"token": "iti_s", "expires_at": "2026-11-22T03:30:00Z"}, 201))
    said = cli("site", "invite", "lyon")
    assert said.out == "iti_s\n"
    assert said.err == "until 2026-11-22 03:30:00 UTC; at lyon: intertie site join TOKEN\n"
    assert site.last("POST").body == {"name": "lyon", "expires_in": 86400}


def test_an_invitation_from_stdin(cli: Runner, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are seen by everybody on the machine."""
    monkeypatch.setattr("sys.stdin", io.StringIO("iti_quiet\n"))
    site.on("POST", "/v1/peers", Answer({"name": "nantes"}, 201))
    said = cli("site", "join", "-")
    assert site.last("POST").body == {"token": "iti_quiet"}
    assert said.err.startswith("joined nantes")


@pytest.mark.parametrize(
    ("words", "listed", "found", "path"),
    [
        (("network", "delete", "blue"), "/v1/networks", MADE, "/v1/networks/nantes.01k0net"),
        (("network", "delete", "nantes.01k0net"), "/v1/networks", MADE, "/v1/networks/nantes.01k0net"),
        (("host", "delete", "web"), "/v1/hosts", HOST, "/v1/hosts/nantes.01k0web"),
        (("host", "delete", "nantes.01k0web"), "/v1/hosts", HOST, "/v1/hosts/nantes.01k0web"),
        (("token", "revoke", "0f1e"), "", None, "/v1/tokens/0f1e"),
        (("site", "forget", "lyon"), "", None, "/v1/peers/lyon"),
    ],
)
def test_what_is_ended(cli: Runner, site: Site, words: tuple[str, ...], listed: str, found: Any, path: str) -> None:
    site.on("GET", listed, items(found))
    site.on("DELETE", path, Answer(None, 204))
    said = cli(*words)
    assert said.code == Exit.OK
    assert said.err
    assert site.calls("DELETE") == [f"DELETE {path}"]
    site.on("DELETE", path, problem("in-use", 409, "it has ports"))
    assert cli(*words).code == Exit.REFUSED


@pytest.mark.parametrize(("noun", "path"), [("network", "/v1/networks"), ("host", "/v1/hosts")])
def test_what_nobody_has_is_not_ended(cli: Runner, site: Site, noun: str, path: str) -> None:
    site.on("GET", path, items())
    said = cli(noun, "delete", "ghost")
    assert (said.code, said.err) == (1, f"error: no {noun} ghost\nhint: intertie {noun} list\n")
    assert site.calls("DELETE") == []


def test_leaving(cli: Runner, site: Site) -> None:
    site.on("POST", "/v1/site/leave", problem("in-use", 409, "nantes is a member of blue"))
    assert cli("site", "leave").code == Exit.REFUSED
    site.on("POST", "/v1/site/leave", Answer(None, 204))
    assert cli("site", "leave").code == Exit.OK


def test_adopting(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(member("nantes"), member("lyon"), owner="lyon"))
    site.on("POST", "/v1/vpns/nantes.01k0blue/adopt", Answer(vpn(member("nantes"), member("lyon"), epoch=1)))
    said = cli("vpn", "adopt", "blue")
    assert said.code == Exit.OK
    assert "home      nantes, version 1.5, epoch 1" in said.out


def test_a_plan_is_applied_by_its_name(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(member("nantes"), member("lyon")))
    planned = Answer({"base_version": "0.1.5+0a1b2c3d4e5f", "changes": [], "refusals": [], "notes": []})
    done = Answer(vpn(member("nantes"), member("lyon")))
    wish = ("vpn", "update", "blue", "-a", "nantes:blue", "-a", "lyon", "--name", "azure")
    site.on("PUT", "/v1/vpns/nantes.01k0blue", planned, done)
    told = cli(*wish, "--plan").out.splitlines()[-1].split()
    assert tuple(told) == ("intertie", *wish, "--base", "0.1.5+0a1b2c3d4e5f")
    assert cli(*told[1:]).code == Exit.OK
    assert site.last("PUT").headers["if-match"] == '"0.1.5+0a1b2c3d4e5f"'
    site.on("DELETE", "/v1/vpns/nantes.01k0blue", planned, Answer(None, 204))
    told = cli("vpn", "delete", "blue", "--force", "--plan").out.splitlines()[-1].split()
    assert cli(*told[1:]).code == Exit.OK
    assert site.last("DELETE").query == {"force": "true"}
    assert site.last("DELETE").headers["if-match"] == '"0.1.5+0a1b2c3d4e5f"'
    site.on("POST", "/v1/vpns", planned, done)
    told = cli(
        "vpn", "create", "x", "--kind", "l3", "-a", "a:b", "-a", "c:d", "--require", "any", "--plan"
    ).out.split()
    assert cli(*told[told.index("intertie") + 1 :]).code == Exit.OK
    assert site.last("POST").headers["if-match"] == '"0.1.5+0a1b2c3d4e5f"'
    assert site.last("POST").body["require"] == "any"


def test_withdrawing_what_waits(cli: Runner, site: Site) -> None:
    waiting = [{"proposal": f"nantes.proposal.{n}", "answer": "waiting", "not_after": AT} for n in "ab"]
    site.holds_vpn(vpn(member("nantes"), member("lyon"), owner="lyon", proposals=waiting))
    for each in waiting:
        site.on("DELETE", f"/v1/vpns/nantes.01k0blue/proposals/{each['proposal']}", Answer(None, 204))
    assert cli("vpn", "withdraw", "blue").code == Exit.OK
    assert len(site.calls("DELETE")) == 2
    site.holds_vpn(vpn(member("nantes"), member("lyon")))
    assert cli("vpn", "withdraw", "blue").code == Exit.OK
    assert len(site.calls("DELETE")) == 2


def test_adopting_by_force(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(member("nantes"), member("lyon"), owner="lyon"))
    path = "/v1/vpns/nantes.01k0blue/adopt"
    site.on("POST", path, problem("owner-up", 409, "lyon, the home of blue, answers"))
    assert cli("vpn", "adopt", "blue").code == Exit.REFUSED
    site.on("POST", path, Answer(vpn(member("nantes"), member("lyon"), epoch=1)))
    assert cli("vpn", "adopt", "blue", "--force").code == Exit.OK
    assert site.last("POST").query == {"force": "true"}


def test_collecting_what_was_shown(cli: Runner, site: Site) -> None:
    line = {"site": "nantes", "op": "-", "what": "network", "text": "- network idle"}
    site.on("POST", "/v1/gc", Answer({"base_version": "0a1b2c", "changes": [line], "kept": []}))
    told = cli("gc", "--force", "--plan").out.splitlines()[-1].split()
    assert site.last("POST").query == {"force": "true", "plan": "true"}
    assert cli(*told[1:]).code == Exit.OK
    assert site.last("POST").query == {"force": "true"}
    assert site.last("POST").headers["if-match"] == '"0a1b2c"'


def test_by_id(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(member("nantes"), member("lyon")))
    site.on("GET", "/v1/vpns", items())
    assert cli("vpn", "show", "nantes.01k0blue").code == Exit.OK


def test_a_name_is_one_segment_of_a_path(cli: Runner, site: Site) -> None:
    site.on("DELETE", "/v1/peers/a%2F..%2Fb", Answer(None, 204))
    assert cli("site", "forget", "a/../b").code == Exit.OK


def test_vpns_ask_for_what_was_typed(cli: Runner, site: Site) -> None:
    site.on("POST", "/v1/vpns", Answer(vpn(member("nantes")), 201))
    words = ("--kind", "l3", "-a", "nantes:db", "-a", "lyon:db", "--transport", "vxlan", "--require", "any")
    cli("vpn", "create", "routed", *words)
    asked = site.last("POST")
    assert asked.body == {
        "name": "routed",
        "kind": "l3",
        "attachments": [{"site": "nantes", "network": "db"}, {"site": "lyon", "network": "db"}],
        "transport": "vxlan",
        "require": "any",
    }
    assert "prefer" not in asked.headers


def test_renaming(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(member("nantes"), member("lyon")))
    site.on("PUT", "/v1/vpns/nantes.01k0blue", Answer(vpn(member("nantes"), member("lyon"), name="navy")))
    assert cli("vpn", "update", "blue", "--name", "navy", "-a", "nantes:blue", "-a", "lyon").code == Exit.OK
    assert site.last("PUT").body["name"] == "navy"


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────


def stream(*events: dict[str, Any]) -> Answer:
    lines = [f"id: boot-{e['seq']}\ndata: {json.dumps(e)}\n\n" for e in events]
    return Answer(": hello\n\n" + "".join(lines), 200, {"Content-Type": "text/event-stream"})


AT = "2026-11-22T02:59:00Z"
EVENTS = (
    {"seq": 7, "at": AT, "kind": "vpn", "id": "nantes.01k0blue", "site": "nantes", "what": "live", "request": "r-1"},
    {"seq": 8, "at": AT, "kind": "answer", "id": "lyon.a", "site": "lyon", "what": "accepted nantes.01k0blue"},
    {"seq": 9, "at": AT, "kind": "peer", "id": "lyon", "site": "lyon", "what": "joined by invitation"},
    {"seq": 10, "at": AT, "kind": "vpn", "id": "nantes.01k1red", "site": "nantes", "what": "live"},
    {"seq": 11, "at": AT, "kind": "change", "id": "nantes.01k0blue/nantes.n", "site": "nantes", "what": "+ segment"},
    {"seq": 12, "at": AT, "kind": "change", "id": "nantes.n", "site": "nantes", "what": "+ network lab"},
    {"seq": 13, "at": AT, "kind": "gap", "id": "", "site": "nantes", "what": "events are missing"},
)


def test_events_are_told_until_the_agent_ends_them(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/events", stream(*EVENTS))
    said = cli("events", "--after", "6")
    assert said.out.splitlines()[2] == "    9  2026-11-22 02:59:00 UTC  peer  lyon  lyon  joined by invitation"
    assert len(said.out.splitlines()) == len(EVENTS)
    assert (said.code, said.err.splitlines()[0]) == (1, "error: the agent ended the stream of events")
    assert site.last("GET").headers["last-event-id"] == "6"


def test_events_of_vpns_and_of_one(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/events", stream(*EVENTS))
    site.holds_vpn(vpn(member("nantes")))
    told = [json.loads(line) for line in cli("vpn", "events", "-o", "json").out.splitlines()]
    assert [e["seq"] for e in told] == [7, 8, 10, 11, 13]
    told = [json.loads(line) for line in cli("vpn", "events", "blue", "-o", "json").out.splitlines()]
    assert [e["seq"] for e in told] == [7, 8, 11, 13]


def test_events_that_are_refused(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/events", problem("forbidden", 403, "this needs the role reader"))
    assert cli("events").code == Exit.REFUSED


# ── Pieces ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "length"), [("90", 90), ("90s", 90), ("30m", 1800), ("24h", 86400), ("1d", 86400)])
def test_times(text: str, length: int) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-3m", "1w", "٣"])
def test_what_is_no_time(cli: Runner, text: str) -> None:
    assert cli("site", "invite", "lyon", "--expires", text).code == Exit.USAGE


def test_status_without_the_right_to_see_the_plan(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/site", Answer({"name": "nantes", "version": "0.1.0"}))
    site.on("GET", "/v1/peers", items())
    site.on("GET", "/v1/vpns", items())
    site.on("GET", "/v1/plan", problem("forbidden", 403))
    assert cli("status").code == Exit.OK
    site.on("GET", "/v1/plan", problem("storage", 503))
    assert cli("status").code == Exit.FAILED
