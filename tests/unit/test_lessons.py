"""What others got wrong, each tried here (docs/design: federation, Trust)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

import pytest

from intertie.model import wire
from intertie.model.bodies import (
    AnswerBody,
    Endpoint,
    IntroductionBody,
    MappingBody,
    Word,
)
from intertie.model.codec import decode, encode
from intertie.model.errors import Refused
from intertie.model.items import Segment
from intertie.model.json_text import Malformed
from intertie.model.records import Draft, Kind, Order, Record
from intertie.model.views import Phase, VpnRequest
from intertie.planning import hearing, trust
from intertie.planning.change import new_vpn
from intertie.planning.compile import compile_site, may_go
from intertie.planning.diff import diff
from intertie.planning.enrol import approval, enrolment, forgetting, pin
from intertie.planning.identity import made_network
from intertie.planning.status import view
from tests.unit.paper import NOW, Paper, attachment, root, sealed

SITES = ("nantes", "lyon", "rennes")


def routed() -> tuple[Paper, str]:
    """An L3 Vpn of three: 10.0.0.0/24 at nantes, 10.1… at lyon, 10.2… at rennes."""
    paper = Paper(*SITES)
    for n, name in enumerate(SITES):
        paper[name].network("db", f"10.{n}.0.0/24")
    id = paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db")
    paper.settle()
    return paper, id


def stretched() -> tuple[Paper, str]:
    paper = Paper(*SITES)
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes")
    paper.settle()
    return paper, id


def segment(paper: Paper, site: str, id: str) -> Segment | None:
    return next((i for i in compile_site(paper[site].table) if isinstance(i, Segment) and i.vpn == id), None)


def routes(paper: Paper, site: str, id: str) -> dict[str, list[str]]:
    found = segment(paper, site, id)
    return {r.site: [str(p) for p in r.prefixes] for r in found.remotes} if found else {}


def answer_of(paper: Paper, site: str, id: str) -> Record:
    record = paper[site].table.answer_record(id, site)
    assert record is not None
    return record


def vpn_of(paper: Paper, id: str, at: str = "nantes") -> Record:
    record = paper[at].table.get(id)
    assert record is not None
    return record


# ── CVE-2026-66785: any subnet advertised by a spoke was believed ──────────────────────────────────────────


@pytest.mark.parametrize(
    "prefix",
    [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.0.0.0/7",
        "2000::/3",
        "127.0.0.0/8",
        "224.0.0.0/8",
        "fe80::/64",
    ],
)
def test_no_default_route_nor_a_part_of_one_is_heard(prefix: str) -> None:
    paper, id = routed()
    lie = paper.forge("rennes", answer_of(paper, "rennes", id), prefixes=(ip_network(prefix),))
    assert not paper["lyon"].hear("rennes", lie)


def test_a_subnet_advertised_later_is_not_believed() -> None:
    """Once all have agreed the prefixes are settled: another can be left out, none added."""
    paper, id = routed()
    before = routes(paper, "lyon", id)
    more = (ip_network("10.2.0.0/24"), ip_network("10.9.0.0/24"))
    assert paper["lyon"].hear("rennes", paper.forge("rennes", answer_of(paper, "rennes", id), prefixes=more))
    paper["lyon"].say()
    assert routes(paper, "lyon", id) == before


@pytest.mark.parametrize("stolen", ["10.1.0.0/24", "10.1.0.128/25", "10.0.0.0/16", "10.0.0.7/32"])
def test_a_member_cannot_advertise_what_is_ours_or_anothers(stolen: str) -> None:
    """Not even if the home plays along, and adds a member for it."""
    paper = Paper(*SITES, "brest")
    for n, name in enumerate(SITES):
        paper[name].network("db", f"10.{n}.0.0/24")
    paper["brest"].network("db", stolen)
    id = paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db")
    paper.settle()
    before = routes(paper, "lyon", id)
    body = paper["nantes"].body(id)
    lie = replace(attachment("brest:db"), prefixes=(ip_network(stolen),), agreed=True)
    forged = paper.forge(
        "nantes",
        vpn_of(paper, id),
        attachments=(lie, *body.attachments),
        names=tuple(sorted(["brest", *SITES])),
    )
    yes = AnswerBody(
        vpn=id,
        order=forged.order,
        digest=forged.digest,
        word=Word.ACCEPTED,
        network="brest.n",
        prefixes=(ip_network(stolen),),
        endpoints=(Endpoint(address=paper["brest"].underlay),),
    )
    said = sealed("brest", Draft(kind=Kind.ANSWER, id=f"brest.answer.{id}", names=SITES, body=yes), Order(seq=99))
    for site in ("lyon", "rennes"):
        assert paper[site].hear("nantes", forged)
        assert paper[site].hear("brest", said)
        paper[site].say()
    assert {s: r for s, r in routes(paper, "lyon", id).items() if s != "brest"} == before
    assert routes(paper, "lyon", id)["brest"] == []


def test_another_vpn_on_the_network_cannot_take_over_a_route() -> None:
    """One routing context: what lyon routes to rennes in one Vpn, nobody gets in another, whenever it is said."""
    paper, id = routed()
    before = routes(paper, "lyon", id)
    paper["nantes"].network("thief", "10.2.0.0/25")
    other = paper.vpn("nantes", "l3", "nantes:thief", "lyon:db")
    paper.settle()
    assert paper["nantes"].body(other).refusal.text.startswith("lyon: 10.2.0.0/25 of this Vpn overlaps 10.2.0.0/24")
    assert routes(paper, "lyon", id) == before


def test_a_home_cannot_speak_for_a_members_prefixes() -> None:
    paper = Paper(*SITES)
    for n, name in enumerate(SITES):
        paper[name].network("db", f"10.{n}.0.0/24")
    id = paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db")
    paper.settle("nantes", "lyon")
    body = paper["nantes"].body(id)
    lies = tuple(
        replace(a, prefixes=(ip_network("10.77.0.0/24"),)) if a.site == "rennes" else a for a in body.attachments
    )
    paper["lyon"].hear("nantes", paper.forge("nantes", vpn_of(paper, id), attachments=lies))
    paper.tell("nantes", "rennes")
    paper["rennes"].say()
    paper.tell("rennes", "lyon")
    paper["lyon"].say()
    assert routes(paper, "lyon", id)["rennes"] == []


# ── CVE-2026-66786: a newline in a peer's string reached a config file ─────────────────────────────────────


@pytest.mark.parametrize("field", ["name", "project", "transport", "network", "route_target"])
@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\u2028b", "a;b", "$(b)", "a b", "../b", "%n", ""])
def test_what_a_peer_calls_things_are_names(field: str, text: str) -> None:
    paper, id = stretched()
    forged = vpn_of(paper, id)
    tree = json.loads(forged.raw)
    tree["body"][field] = text
    tree["header"]["seq"] += 1
    raw = json.dumps(tree).encode()
    try:
        record = decode(raw, b"")
    except Malformed:
        return
    fresh = Paper(*SITES)
    assert not fresh["lyon"].hear("nantes", record), record.body


@pytest.mark.parametrize(
    "address", ["evil\nhost:1", "host", "host:0", "host:99999", "http://host:1/x", "a b:1", "-x:1"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    paper = Paper(*SITES)
    record = paper["nantes"].table.get("nantes.site")
    assert record is not None
    tree = json.loads(encode(record.header, replace(record.body, address="host:1")))
    tree["body"]["address"] = address
    tree["header"]["seq"] += 1000
    try:
        forged = decode(json.dumps(tree).encode(), b"")
    except Malformed:
        return
    assert not paper["lyon"].hear("nantes", forged)


# ── CVE-2026-42999: the policy target came from the request body ───────────────────────────────────────────


def test_the_project_of_a_network_is_read_from_the_inventory() -> None:
    """The Vpn says project red, which lyon maps; it names a network of green, by id and by name."""
    paper = Paper(*SITES)
    paper["nantes"].network("db", "10.0.0.0/24")
    secret = paper["lyon"].network("secret", "10.1.0.0/24", project="green")
    for wanted in (secret, "secret"):
        id = paper.vpn("nantes", "l3", "nantes:db", f"lyon:{wanted}")
        paper.settle()
        refusal = paper["nantes"].body(id).refusal
        assert "lyon has no network" in refusal.text
        assert "10.1.0.0" not in refusal.text


def test_another_home_cannot_get_at_a_made_network_by_choosing_its_id() -> None:
    """rennes takes the ulid of nantes' Vpn for one of its own: in the same bridge their packets would meet."""
    assert made_network("lyon", "nantes.01abc") != made_network("lyon", "rennes.01abc")
    assert made_network("lyon", "nantes.01abc") != made_network("lyon", "nantes.01ABC")
    paper, id = stretched()
    paper["rennes"].network("blue2", "10.0.0.0/24", project="green")
    paper.map("lyon", "rennes", "green", "green")
    request = VpnRequest(
        name="x", kind=vpn_of(paper, id).body.kind, attachments=(attachment("rennes:blue2"), attachment("lyon"))
    )
    same = f"rennes.{id.split('.')[1]}"
    paper["rennes"].write([new_vpn(paper["rennes"].situation, request, "green", same, NOW)])
    paper.settle()
    one, two = segment(paper, "lyon", id), segment(paper, "lyon", same)
    assert one is not None
    assert two is not None
    assert (one.bridge, one.network) != (two.bridge, two.network)


def test_a_home_cannot_move_a_vpn_into_another_project() -> None:
    paper, id = stretched()
    paper.map("lyon", "nantes", "blue", "victim")
    forged = paper.forge("nantes", vpn_of(paper, id), project="blue")
    assert not paper["lyon"].hear("nantes", forged)


# ── CVE-2026-49299: an unknown policy name meant "allowed" ─────────────────────────────────────────────────


@pytest.mark.parametrize("policy", ["ask", "never", "", "ACCEPT", "accept ", "yes", "true"])
def test_an_unknown_policy_pins_nobody(policy: str) -> None:
    paper = Paper("nantes", "lyon")
    paper["lyon"].write([pin(paper["lyon"].table, IntroductionBody(site="mallory", root=root("mallory")))])
    paper.settle()
    assert "mallory" in trust.introduced(paper["nantes"].table)
    assert enrolment(paper["nantes"].table, policy) == []
    assert len(enrolment(paper["nantes"].table, "accept")) == 1


def test_a_mapping_allows_what_it_names_and_nothing_else() -> None:
    paper = Paper("nantes", "lyon")
    lyon = paper["lyon"]
    body = MappingBody(peer="nantes", theirs="x", ours="x", may=("everything", "*", "L2"))
    lyon.write([Draft(kind=Kind.MAPPING, id="lyon.mapping.nantes.x", body=body)])
    assert trust.mapped(lyon.table, "nantes", "x", "l2") is None
    assert trust.mapped(lyon.table, "nantes", "y", "l2") is None
    assert trust.mapped(lyon.table, "rennes", "red", "l2") is None
    assert trust.mapped(lyon.table, "nantes", "red", "l2") == "red"


# ── GHSA-hmqr-wjmj-376c: any host's token acted on other hosts ─────────────────────────────────────────────


def test_a_peer_speaks_for_itself_alone() -> None:
    paper, id = stretched()
    lyon = paper["lyon"]
    for record in [r for kind in Kind for r in paper["nantes"].table.all_of(kind)]:
        if record.home == "nantes":
            assert not lyon.hear("rennes", record)
    # An answer, grant, site or introduction of another cannot be adopted; a Vpn only by one of its members.
    for kind in (Kind.ANSWER, Kind.GRANT, Kind.SITE, Kind.INTRODUCTION):
        record = next(r for r in paper["nantes"].table.of(kind) if r.home == "nantes")
        stolen = paper.forge("rennes", record, order=Order(1, "rennes", 1, 5000), names=("lyon",))
        assert not lyon.hear("rennes", stolen)
    paper.change(id, "nantes:blue", "lyon")
    paper.settle()
    stolen = paper.forge("rennes", vpn_of(paper, id), order=Order(1, "rennes", 1, 5000), names=("lyon", "nantes"))
    assert not lyon.hear("rennes", stolen)


def test_a_peer_sends_no_local_records() -> None:
    paper = Paper("nantes", "lyon")
    paper["nantes"].network("db", "10.0.0.0/24")
    for record in [r for kind in (Kind.NETWORK, Kind.MAPPING, Kind.HOST) for r in paper["nantes"].table.all_of(kind)]:
        named = paper.forge("nantes", record, names=("lyon",))
        assert not paper["lyon"].hear("nantes", named)


# ── CVE-2026-61699: revocation recorded but not enforced ───────────────────────────────────────────────────


def test_forgetting_takes_effect_at_once() -> None:
    paper, id = stretched()
    nantes = paper["nantes"]
    assert set(routes(paper, "nantes", id)) == {"lyon", "rennes"}
    late = paper.forge("lyon", answer_of(paper, "lyon", id))
    nantes.write(forgetting(nantes.table, "lyon"))
    assert set(routes(paper, "nantes", id)) == {"rennes"}
    assert not nantes.hear("lyon", late)
    assert paper["lyon"].name not in trust.pins(nantes.table)
    # Neither a friend's word nor a policy brings it back; an operator's does.
    paper["rennes"].write(
        [pin(paper["rennes"].table, IntroductionBody(site="lyon", root=root("lyon"), incarnation=99))]
    )
    paper.tell("rennes", "nantes")
    assert enrolment(nantes.table, "accept") == []
    assert "lyon" in trust.introduced(nantes.table)


def test_a_removed_member_that_goes_on_is_no_remote_of_anybody() -> None:
    paper, id = stretched()
    paper.change(id, "nantes:blue", "rennes")
    paper.settle()
    still = paper.forge("lyon", answer_of(paper, "rennes", id), id=f"lyon.answer.{id}", endpoints=())
    for site in ("nantes", "rennes"):
        paper[site].hear("lyon", still)
        paper[site].say()
        assert "lyon" not in routes(paper, site, id)
    shown = view(paper["nantes"].table, vpn_of(paper, id), {})
    assert [m.site for m in shown.members] == ["nantes", "rennes"]


def test_what_a_stranger_answers_shows_nowhere() -> None:
    paper = Paper(*SITES, "brest")
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon")
    paper.settle()
    before = view(paper["nantes"].table, vpn_of(paper, id), {})
    no = replace(answer_of(paper, "lyon", id).body, word=Word.REFUSED, endpoints=())
    lie = sealed("brest", Draft(kind=Kind.ANSWER, id=f"brest.answer.{id}", names=SITES, body=no), Order(seq=99))
    assert paper["nantes"].hear("brest", lie)
    assert paper["nantes"].say() == []
    assert view(paper["nantes"].table, vpn_of(paper, id), {}) == before
    assert before.phase is not Phase.DEGRADED


# ── CVE-2023-3637: listing created resources ───────────────────────────────────────────────────────────────


def test_looking_writes_nothing() -> None:
    paper, id = stretched()
    for site in paper.sites.values():
        before = len(site.table), site.table.last()
        view(site.table, vpn_of(paper, id, site.name), {})
        items = compile_site(site.table)
        diff(items, (), partial(may_go, site.table))
        request = VpnRequest(
            name="other",
            kind=vpn_of(paper, id).body.kind,
            attachments=(attachment("nantes:blue"), attachment("lyon")),
        )
        if site.name == "nantes":
            with pytest.raises(Exception, match="already"):
                new_vpn(site.situation, request, "red", "nantes.other", NOW)
        assert (len(site.table), site.table.last()) == before


# ── CVE-2015-3221: one bad object crashed the agent for all ────────────────────────────────────────────────


def test_one_bad_record_stops_no_other() -> None:
    paper, id = stretched()
    good = [r for r in paper["nantes"].table.of(Kind.SITE) if r.home == "nantes"]
    message = wire.Message(sender="nantes", incarnation=1, boot="b", records=tuple(good))
    tree = json.loads(wire.encode(message))
    bad = vpn_of(paper, id).raw.decode()
    for text in (bad.replace('"vni":', '"vni":"x","x":'), bad[:-5], "[]", "null", '{"header":1}'):
        tree["records"].insert(0, {"record": text, "signature": "AA=="})
    found, faults = wire.decode(json.dumps(tree).encode(), decode)
    assert len(faults) == 5
    assert [r.id for r in found.records] == ["nantes.site"]


def test_a_vpn_that_cannot_be_here_leaves_the_others_alone() -> None:
    paper, id = stretched()
    before = segment(paper, "lyon", id)
    paper["rennes"].network("big", "10.9.0.0/24")
    paper["rennes"].network("worse", "10.8.0.0/24")
    for name in ("big", "worse"):
        paper.vpn("rennes", "l2", f"rennes:{name}", "lyon")
    paper.tell("rennes", "lyon")
    vnis = [r.body.vni for r, _ in paper["lyon"].table.vpns()]
    clash = paper.forge("rennes", vpn_of(paper, "rennes.v2", "lyon"), vni=vnis[0])
    assert not paper["lyon"].hear("rennes", clash), "a VNI does not change"
    paper.settle()
    assert segment(paper, "lyon", id) == before


# ── What our own rules add ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        {"vni": 0},
        {"vni": 2**24},
        {"vni": -1},
        {"mtu": 68},
        {"mtu": 100000},
        {"transport": "gre"},
        {"network": "red"},
        {"route_target": "64512:1"},
        {"prefixes": ()},
        {"prefixes": (ip_network("10.0.0.0/8"),)},
        {"shares": ()},
    ],
    ids=str,
)
def test_a_lying_home_cannot_bend_a_vpn(change: dict[str, object]) -> None:
    paper, id = stretched()
    assert not paper["lyon"].hear("nantes", paper.forge("nantes", vpn_of(paper, id), **change))


@pytest.mark.parametrize("change", [{"vni": 0}, {"mtu": 68}, {"prefixes": ()}, {"shares": ()}, {"name": ""}], ids=str)
def test_nor_make_one_that_cannot_be(change: dict[str, object]) -> None:
    paper, id = stretched()
    assert not Paper(*SITES)["lyon"].hear("nantes", paper.forge("nantes", vpn_of(paper, id), **change))


def test_a_home_cannot_take_away_or_double_what_a_member_holds() -> None:
    """A lying home gives lyon's addresses to rennes: lyon keeps what it holds, rennes takes none of it."""
    paper, id = stretched()
    held = paper["lyon"].answer(id)
    shares = {s.site: s for s in paper["nantes"].body(id).shares}
    a, b = shares["lyon"], shares["rennes"]
    swapped = tuple(
        replace(s, ranges=other.ranges, gateways=other.gateways)
        for s, other in ((shares["nantes"], shares["nantes"]), (a, b), (b, a))
    )
    forged = paper.forge("nantes", vpn_of(paper, id), shares=swapped)
    for site in ("lyon", "rennes"):
        assert paper[site].hear("nantes", forged)
    paper.settle("lyon", "rennes")
    assert paper["lyon"].answer(id).ranges == held.ranges
    assert paper["lyon"].answer(id).gateways == held.gateways
    mine, theirs = paper["lyon"].answer(id).ranges, paper["rennes"].answer(id).ranges
    assert all(int(x.last) < int(y.first) or int(y.last) < int(x.first) for x in mine for y in theirs)


def test_shares_that_overlap_are_not_heard() -> None:
    paper, id = stretched()
    shares = paper["nantes"].body(id).shares
    wide = tuple(
        replace(s, ranges=(*s.ranges[:-1], replace(s.ranges[-1], first=shares[1].ranges[-1].first)))
        if s.site == "rennes"
        else s
        for s in shares
    )
    assert not paper["lyon"].hear("nantes", paper.forge("nantes", vpn_of(paper, id), shares=wide))


@pytest.mark.parametrize(
    "endpoint",
    [
        {"address": "127.0.0.1"},
        {"address": "224.0.0.1"},
        {"address": "255.255.255.255"},
        {"address": "0.0.0.0"},
        {"address": "::1"},
        {"address": "ff02::1"},
        {"address": "::ffff:192.0.2.1"},
        {"address": "192.0.2.2", "port": 0},
        {"address": "192.0.2.2", "port": 65536},
        {"address": "192.0.2.2", "mac": "01:00:5e:00:00:01"},
        {"address": "192.0.2.2", "mac": "ff:ff:ff:ff:ff:ff"},
        {"address": "192.0.2.2", "mac": "x"},
        {"address": "192.0.2.2", "mac": "fe:00:00:00:00:01"},
    ],
    ids=lambda e: "-".join(str(v) for v in e.values()),
)
def test_an_endpoint_is_one_station(endpoint: dict[str, object]) -> None:
    """The last: a member that takes the MAC of another's segment would get its packets."""
    paper, id = stretched()
    tree = json.loads(answer_of(paper, "lyon", id).raw)
    tree["body"]["endpoints"] = [endpoint]
    tree["header"]["seq"] += 1000
    assert not paper["nantes"].hear("lyon", decode(json.dumps(tree).encode(), b""))


def test_a_member_cannot_send_us_our_own_packets() -> None:
    paper, id = stretched()
    mine = Endpoint(address=paper["nantes"].underlay)
    assert paper["nantes"].hear("lyon", paper.forge("lyon", answer_of(paper, "lyon", id), endpoints=(mine,)))
    assert set(routes(paper, "nantes", id)) == {"rennes"}


def test_a_record_that_names_a_thousand_sites_is_not_kept() -> None:
    paper, id = stretched()
    many = tuple(f"s{i}" for i in range(1000))
    for forged in (
        paper.forge("nantes", vpn_of(paper, id), owes=many),
        paper.forge("nantes", vpn_of(paper, id), names=("lyon", *many)),
        paper.forge("lyon", answer_of(paper, "lyon", id), names=("nantes", *many)),
    ):
        assert not paper["rennes" if forged.home == "lyon" else "lyon"].hear(forged.home, forged)
        assert not paper["nantes"].hear("lyon", forged)


def test_a_home_that_tells_two_stories_is_not_followed() -> None:
    """Rule 2: lyon and rennes were given different versions with one number. Their answers show it."""
    paper, id = stretched()
    first = paper.forge("nantes", vpn_of(paper, id), name="one")
    tree = json.loads(first.raw)
    tree["body"]["name"] = "two"
    second = decode(json.dumps(tree, sort_keys=True).encode(), b"")
    for site, version in (("lyon", first), ("rennes", second)):
        paper[site].hear("nantes", version)
        body = replace(paper[site].answer(id), order=version.order, digest=version.digest)
        standing = answer_of(paper, site, id)
        paper[site].write(
            [Draft(kind=Kind.ANSWER, id=standing.id, names=standing.header.names, body=body, base=standing.order)]
        )
    paper.tell("lyon", "rennes")
    paper.tell("rennes", "lyon")
    assert "rennes" not in routes(paper, "lyon", id)
    assert "lyon" not in routes(paper, "rennes", id)


def test_what_has_ended_does_not_serve_again() -> None:
    paper, id = stretched()
    alive = vpn_of(paper, id)
    paper.close(id)
    paper.settle()
    paper["nantes"].seq += 50
    again = paper.forge("nantes", alive)
    assert not paper["lyon"].hear("nantes", again)
    assert segment(paper, "lyon", id) is None


def test_one_peer_cannot_fill_the_memory_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hearing.QUOTA, Kind.VPN, 3)
    paper, id = stretched()
    taken = []
    for n in range(5):
        forged = paper.forge("nantes", vpn_of(paper, id), id=f"nantes.x{n}", vni=9000 + n)
        taken.append(paper["lyon"].hear("nantes", forged))
    assert taken == [True, True, False, False, False]
    assert paper["lyon"].hear("nantes", paper.forge("nantes", vpn_of(paper, id))), "a new version is no new record"


def test_two_peers_that_vouch_for_different_roots_decide_nothing() -> None:
    paper = Paper(*SITES)
    for site, key in (("lyon", "good"), ("rennes", "evil")):
        paper[site].write([pin(paper[site].table, IntroductionBody(site="brest", root=root(key)))])
    paper.settle()
    assert enrolment(paper["nantes"].table, "accept") == []
    with pytest.raises(Refused, match="different roots"):
        approval(paper["nantes"].table, "brest")
