"""Tables and help, word for word: tests/unit/golden/*.txt. INTERTIE_GOLDEN_WRITE=1 renews them."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from intertie.cli.table import Table, plain, show
from intertie.cli.vpn_shown import vpn_list
from intertie.client.vpns import read_vpn
from tests.unit.cli_run import Runner, golden
from tests.unit.cli_site import PEERS, SITE, Answer, Site, items, member, vpn, waiting

NANTES = member("nantes", ranges=[{"first": "10.20.0.1", "last": "10.20.0.85"}], free=[64], ports_in_use=1)
LYON = member(
    "lyon",
    ranges=[{"first": "10.20.0.86", "last": "10.20.0.169"}],
    free=[3],
    asks="nantes",
    rtt_ms=12.34,
    loss=0.013,
)
RENNES = member(
    "rennes",
    network="",
    answer="refused",
    reason="project demo of nantes stands for none here",
    hint="at rennes: intertie site map nantes demo demo",
    health="unknown",
    rtt_ms=None,
    loss=None,
    probed_at=None,
)
BLUE = vpn(NANTES, LYON, RENNES, phase="degraded", reason="rennes: project demo of nantes stands for none here")
ROUTED = vpn(
    member("nantes", network="db"),
    waiting("lyon"),
    id="nantes.01k1db",
    name="db",
    kind="l3",
    phase="waiting",
    reason="no answer yet from lyon",
)
NETWORKS = (
    {
        "id": "nantes.01k0net",
        "name": "blue",
        "site": "nantes",
        "project": "demo",
        "prefixes": ["10.20.0.0/24", "fd10:20::/64"],
        "mtu": 1450,
        "addresses_in_use": ["10.20.0.1", "10.20.0.2"],
        "attachable": True,
        "reason": "",
    },
    {
        "id": "nantes.01k0lab",
        "name": "lab",
        "site": "nantes",
        "project": "demo",
        "prefixes": ["10.9.0.0/24"],
        "mtu": 1500,
        "addresses_in_use": [],
        "attachable": False,
        "reason": "being made",
    },
)
HOSTS = (
    {
        "id": "nantes.01k0web",
        "name": "web",
        "site": "nantes",
        "network": "blue",
        "address": "10.20.0.2",
        "addresses": ["10.20.0.2", "fd10:20::2"],
        "mtu": 1450,
    },
)
END = {"site": "nantes", "host": "web", "address": "10.20.0.2"}
FAR = {"site": "lyon", "host": "app", "address": "10.20.0.86"}
PLAN = {
    "base_version": "0.1.5",
    "changes": [
        {"site": "rennes", "op": "+", "what": "network", "text": "+ network blue 10.20.0.0/24 mtu 1450"},
        {"site": "lyon", "op": "~", "what": "segment", "text": "~ segment blue vni 65537 with nantes,rennes"},
        {"site": "paris", "op": "-", "what": "segment", "text": "- segment blue vni 65537"},
    ],
}


@pytest.fixture
def full(site: Site) -> Site:
    """A site with one of everything."""
    site.holds_vpn(BLUE)
    site.on("GET", "/v1/vpns", items(BLUE, ROUTED))
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("GET", "/v1/peers", items(*PEERS))
    site.on(
        "GET",
        "/v1/mappings",
        items({"peer": "lyon", "theirs": "demo", "ours": "lab", "may": ["l2", "l3"]}),
    )
    site.on("GET", "/v1/peers/lyon", Answer(PEERS[0]))
    site.on("GET", "/v1/networks", items(*NETWORKS))
    site.on("GET", "/v1/hosts", items(*HOSTS))
    site.on(
        "GET",
        "/v1/tokens",
        items({"id": "0f1e2d", "project": "demo", "role": "admin", "created_at": "2026-11-22T01:00:00+00:00"}),
    )
    orphan = {"site": "nantes", "op": "?", "what": "segment", "text": "? segment nantes.01kold l2 vni 65540"}
    kept = {"site": "nantes", "op": "!", "what": "network", "text": "! network old: ports are in use"}
    round = [{"site": "nantes", "op": "+", "what": "segment", "text": "+ segment nantes.01k1db l3 vni 65538"}]
    site.on("GET", "/v1/plan", Answer({"base_version": "", "changes": round, "orphans": [orphan], "kept": [kept]}))
    going = {**orphan, "op": "-", "text": "- segment nantes.01kold l2 vni 65540"}
    busy = {
        "site": "nantes",
        "op": "!",
        "what": "host",
        "text": "! host web: it is a host, and may be running something",
    }
    site.on("POST", "/v1/gc", Answer({"base_version": "0a1b2c3d4e5f", "changes": [going], "kept": [busy]}))
    site.on("PUT", "/v1/vpns/nantes.01k0blue", Answer(PLAN))
    site.on("POST", "/v1/vpns", Answer(PLAN))
    pair = {"from": END, "to": FAR, "rtt_ms": 12.3, "mtu": 1450, "ok": True, "broken_at": "", "hint": ""}
    back = {**pair, "from": FAR, "to": END}
    lost = {"site": "rennes", "host": "", "address": ""}
    bad = {**pair, "to": lost, "rtt_ms": None, "mtu": 0, "ok": False, "broken_at": "answer", "hint": "rennes refused"}
    site.on("POST", "/v1/vpns/nantes.01k0blue/verify", Answer({"ok": False, "pairs": [pair, back, bad]}))
    return site


TABLES = {
    "vpn-list": ("vpn", "list"),
    "vpn-show": ("vpn", "show", "blue"),
    "vpn-show-proposals": ("vpn", "show", "blue"),
    "vpn-show-superseded": ("vpn", "show", "blue"),
    "vpn-verify": ("vpn", "verify", "blue"),
    "vpn-create-plan": ("vpn", "create", "x", "--kind", "l2", "-a", "nantes:blue", "-a", "rennes", "--plan"),
    "vpn-update-plan": ("vpn", "update", "blue", "-a", "nantes:blue", "-a", "rennes", "--plan"),
    "vpn-plan": ("vpn", "plan", "db"),
    "site-list": ("site", "list"),
    "site-show": ("site", "show", "nantes"),
    "site-show-peer": ("site", "show", "lyon"),
    "site-mappings": ("site", "mappings"),
    "network-list": ("network", "list"),
    "host-list": ("host", "list"),
    "token-list": ("token", "list"),
    "status": ("status",),
    "gc-plan": ("gc", "--plan"),
    "gc": ("gc", "--force"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(cli: Runner, full: Site, name: str) -> None:
    if name == "vpn-show-proposals":
        asked = {
            "proposal": "nantes.proposal.01k",
            "change": "update",
            "name": "azure",
            "members": ["lyon", "nantes"],
            "force": False,
            "waiting_for": "lyon",
            "not_after": "2026-11-22T03:10:00Z",
            "answer": "waiting",
            "reason": "",
            "hint": "",
        }
        no = {**asked, "change": "delete", "name": "", "members": [], "force": True, "answer": "refused"}
        refused = {**no, "reason": "project demo of nantes may not change it"}
        full.holds_vpn({**BLUE, "owner": "lyon", "proposals": [asked, refused]})
    if name == "vpn-show-superseded":
        wishes = [{"site": "nantes", "network": "blue"}, {"site": "rennes", "network": ""}]
        lost = {
            "version": "0.1.7",
            "at": "2026-11-22T02:58:00Z",
            "by": "lyon",
            "what": "its name was mine, not blue; lyon was no member",
            "name": "mine",
            "attachments": wishes,
            "ending": False,
        }
        full.holds_vpn({**BLUE, "owner": "lyon", "epoch": 1, "superseded": [lost, {**lost, "ending": True}]})
    if name == "vpn-plan":
        full.holds_vpn(ROUTED)
    golden(f"{name}.txt", cli(*TABLES[name]).out)


def test_what_is_asked_for_a_plan_changes_nothing(cli: Runner, full: Site) -> None:
    cli(*TABLES["vpn-create-plan"])
    assert full.last("POST").query == {"plan": "true"}
    cli(*TABLES["vpn-update-plan"])
    assert full.last("PUT").query == {"plan": "true"}
    assert full.last("PUT").headers["if-match"] == '"0.1.5"'


@pytest.mark.parametrize("name", [*TABLES])
def test_json_is_one_document_and_the_body(cli: Runner, full: Site, name: str) -> None:
    if name == "vpn-plan":
        full.holds_vpn(ROUTED)
    told = json.loads(cli(*TABLES[name], "-o", "json").out)
    bodies = {"vpn-show": BLUE, "vpn-update-plan": PLAN, "site-show": SITE, "site-show-peer": PEERS[0]}
    if name in bodies:
        assert told == bodies[name]
    elif name.endswith("-list"):
        assert told["next"] is None
        assert told["items"]
    elif name == "status":
        assert [*told] == ["site", "peers", "vpns", "plan"]


def test_nothing_is_told_on_stderr_and_an_empty_list_is_an_empty_document(cli: Runner, site: Site) -> None:
    for path, noun in (
        ("/v1/vpns", "vpn"),
        ("/v1/peers", "site"),
        ("/v1/networks", "network"),
        ("/v1/hosts", "host"),
    ):
        site.on("GET", path, items())
        said = cli(noun, "list")
        assert (said.code, said.out) == (0, "")
        assert said.err.startswith("no ")
        said = cli(noun, "list", "-o", "json")
        assert (json.loads(said.out), said.err) == ({"items": [], "next": None}, "")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("vpn",),
        ("vpn", "create"),
        ("vpn", "update"),
        ("vpn", "delete"),
        ("vpn", "verify"),
        ("site",),
        ("site", "map"),
        ("network",),
        ("network", "create"),
        ("host", "create"),
        ("token", "create"),
        ("init",),
        ("agent", "run"),
        ("status",),
        ("gc",),
    ],
)
def test_help(cli: Runner, words: tuple[str, ...]) -> None:
    said = cli(*words, "--help")
    assert said.code == 0
    golden(f"help{''.join(f'-{word}' for word in words)}.txt", said.out)


# ── On a terminal ──────────────────────────────────────────────────────────────────────────────────────────


def drawn(table: Table, width: int, colours: bool = False) -> str:
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, width=width, color_system="standard" if colours else None, highlight=False
    )
    show(table, console)
    return screen.getvalue()


def test_a_terminal_shows_the_same_words() -> None:
    table = vpn_list([read_vpn(BLUE), read_vpn(ROUTED)])
    wide = [line.rstrip() for line in drawn(table, 200).splitlines()]
    assert wide == plain(table)


def test_a_narrow_terminal_folds_reasons_and_nothing_else() -> None:
    golden("vpn-list-100.txt", drawn(vpn_list([read_vpn(BLUE), read_vpn(ROUTED)]), 100))


def test_states_are_coloured_and_still_said() -> None:
    text = drawn(vpn_list([read_vpn(ROUTED)]), 120, colours=True)
    assert "\x1b[33mwaiting" in text


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" not in drawn(vpn_list([read_vpn(ROUTED)]), 120, colours=True)


def test_a_pipe_gets_no_colours(cli: Runner, full: Site) -> None:
    for words in TABLES.values():
        assert "\x1b" not in cli(*words).out
