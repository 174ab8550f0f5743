"""Laws of what a site says: it keeps its promises, and comes to rest."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from intertie.model.bodies import Require, Word
from intertie.model.errors import Conflict, Refused
from intertie.model.items import NetworkFacts, Segment
from intertie.model.records import Draft, Kind, State
from intertie.planning import ranges
from intertie.planning.advertise import advertise, next_version
from intertie.planning.change import adopted_vpn, changed_vpn, closed_vpn
from intertie.planning.compile import compile_site
from intertie.planning.enrol import forgetting
from tests.unit.paper import Paper, Site, attachment, sealed
from tests.unit.test_laws_story import check_all

NAMES = ("nantes", "lyon", "rennes", "brest")


def segments(site: Site) -> dict[str, Segment]:
    return {i.vpn: i for i in compile_site(site.table) if isinstance(i, Segment)}


def l2(*members: str) -> tuple[Paper, str]:
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", *members)
    paper.settle()
    return paper, id


def test_a_vpn_that_ended_never_comes_back_at_its_home() -> None:
    paper, id = l2("lyon", "rennes")
    nantes = paper["nantes"]
    paper.close(id)
    paper.settle()
    ended = nantes.table.get(id)
    assert ended is not None
    assert ended.header.state is State.WITHDRAWN
    assert next_version(nantes.situation, ended) is None
    with pytest.raises(Conflict):
        closed_vpn(ended)
    with pytest.raises(Conflict):
        changed_vpn(nantes.situation, ended, "v1", [attachment("nantes:blue"), attachment("lyon")])
    with pytest.raises(Conflict):
        adopted_vpn(paper["lyon"].table, ended)
    assert not [i for s in paper.sites.values() for i in segments(s)]


def test_an_acceptance_holds_for_later_versions() -> None:
    paper, id = l2("lyon", "rennes")
    before = paper["lyon"].table.answer_record(id, "lyon")
    record = paper["nantes"].table.get(id)
    assert record is not None
    members = [attachment("nantes:blue"), attachment("lyon"), attachment("rennes")]
    paper["nantes"].write([changed_vpn(paper["nantes"].situation, record, "renamed", members)])
    # What was a reason to refuse at first is none to break a promise: lyon takes the mapping back.
    paper["lyon"].table.drop("lyon.mapping.nantes.red")
    paper.settle()
    assert paper["lyon"].table.answer_record(id, "lyon") == before
    assert id in segments(paper["lyon"])


def test_closing_makes_nothing_where_nothing_was() -> None:
    """Rule 12: closing alters no forwarding. A member that first hears of the Vpn as it closes lets go at once."""
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes")
    paper.settle("nantes", "rennes")
    paper.close(id)
    paper.tell("nantes", "lyon")
    paper["lyon"].say()
    assert paper["lyon"].answer(id).word is Word.DRAINED
    assert segments(paper["lyon"]) == {}
    # Taken back before it ended: lyon judges now.
    paper.change(id, "nantes:blue", "lyon", "rennes")
    paper.settle()
    assert paper["lyon"].answer(id).word is Word.ACCEPTED
    assert len(segments(paper["lyon"])[id].remotes) == 2


def test_a_forgotten_member_does_not_keep_a_vpn_from_ending() -> None:
    paper, id = l2("lyon", "rennes")
    nantes = paper["nantes"]
    nantes.write(forgetting(nantes.table, "lyon"))
    paper.close(id)
    paper.settle("nantes", "rennes")
    record = nantes.table.get(id)
    assert record is not None
    assert record.header.state is State.WITHDRAWN


def test_answers_that_cross_are_decided_by_position() -> None:
    """Rule 8: both accept in the first wave, neither knew of the other's prefixes. All sites apply one rule."""
    paper = Paper(*NAMES)
    for name, prefix in (("nantes", "10.1.0.0/24"), ("lyon", "10.2.0.0/24"), ("rennes", "10.2.0.128/25")):
        paper[name].network("db", prefix)
    id = paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db")
    paper.settle()
    for site in ("nantes", "lyon", "rennes"):
        record = paper[site].table.get(id)
        assert record is not None
        assert not record.live
        assert record.body.refusal.code == "refused-by-member"
        assert "10.2.0.128/25 at rennes overlaps 10.2.0.0/24 at lyon" in record.body.refusal.text
        assert segments(paper[site]) == {}


def test_crossing_answers_where_any_may_be_missing() -> None:
    paper = Paper(*NAMES)
    for name, prefix in (("nantes", "10.1.0.0/24"), ("lyon", "10.2.0.0/24"), ("rennes", "10.2.0.128/25")):
        paper[name].network("db", prefix)
    id = paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db", require=Require.ANY)
    paper.settle()
    words = [paper["nantes"].answer(id, s).word for s in ("nantes", "lyon", "rennes")]
    assert words == [Word.ACCEPTED, Word.ACCEPTED, Word.REFUSED]
    assert [r.site for r in segments(paper["nantes"])[id].remotes] == ["lyon"]


def test_one_network_is_not_promised_twice_in_one_breath() -> None:
    """Two Vpns in one message: what is said to the first counts for the second, though nothing is written yet."""
    paper = Paper(*NAMES)
    paper["lyon"].network("old", "10.0.0.0/24")
    for home in ("nantes", "rennes"):
        paper[home].network("blue", "10.0.0.0/24")
        paper.vpn(home, "l2", f"{home}:blue", "lyon:old")
        paper.tell(home, "lyon")
    drafts = [d for d in advertise(paper["lyon"].situation) if d.body.vpn]
    assert sorted(d.body.word for d in drafts) == [Word.ACCEPTED, Word.REFUSED]
    assert [d.body.reason.code for d in drafts if d.body.reason] == ["in-use"]


def test_two_made_networks_of_one_name_are_not_promised_in_one_breath() -> None:
    paper = Paper(*NAMES)
    for home in ("nantes", "rennes"):
        paper[home].network("blue", "10.0.0.0/24")
        paper.vpn(home, "l2", f"{home}:blue", "lyon")
        paper.tell(home, "lyon")
    drafts = advertise(paper["lyon"].situation)
    assert sorted(d.body.word for d in drafts) == [Word.ACCEPTED, Word.REFUSED]
    assert [d.body.reason.code for d in drafts if d.body.reason] == ["name-taken"]


def test_looking_ahead_leaves_no_trace() -> None:
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon")
    paper.tell("nantes", "lyon")
    lyon = paper["lyon"]
    assert advertise(lyon.situation) == advertise(lyon.situation) != []
    assert lyon.table.answer_record(id, "lyon") is None
    assert list(lyon.table.on("lyon.whatever")) == []


def test_what_a_removed_member_holds_is_not_given_on_until_it_has_drained() -> None:
    """Rule 16. lyon drains with the home's knowledge; the others look on."""
    paper, id = l2("lyon", "rennes")
    was = paper["lyon"].answer(id).ranges
    paper.change(id, "nantes:blue", "rennes")
    paper.settle("nantes", "rennes", "brest")
    body = paper["nantes"].body(id)
    assert [a.leaving for a in body.attachments] == [False, True, False]
    assert int(paper["nantes"].answer(id).ranges[0].last) < int(was[0].first)
    paper.settle()
    assert was[0].first in paper["nantes"].networks["nantes.n-red-blue"].prefixes[0]
    assert ranges.within(was[0].first, paper["nantes"].answer(id).ranges)
    assert paper["lyon"].table.answers(id).get("lyon") is None


def test_addresses_promised_to_hosts_are_not_given_away() -> None:
    """The host's record is durable, the host is not made yet: the network shows nothing of it."""
    paper = Paper(*NAMES)
    blue = paper["nantes"].network("blue", "10.0.0.0/24")
    paper["nantes"].host("a", blue, "10.0.0.200")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon")
    paper.settle()
    assert ranges.within(ip_address("10.0.0.200"), paper["nantes"].answer(id).ranges)
    free = next(r.last for r in paper["nantes"].answer(id).ranges)
    paper["nantes"].host("b", blue, str(free))
    paper.change(id, "nantes:blue", "lyon", "rennes")
    paper.settle()
    assert ranges.within(free, paper["nantes"].answer(id).ranges)
    assert ranges.within(ip_address("10.0.0.200"), paper["nantes"].answer(id).ranges)


def test_who_refused_or_has_not_answered_does_not_become_the_home() -> None:
    """Its own no would end the Vpn at once, also for whom the home added meanwhile (simulator, churn 3008)."""
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", "10.0.0.0/24")
    paper["lyon"].network("grey", "10.1.0.0/24")
    id = paper.vpn("nantes", "l3", "nantes:blue", "lyon:grey", "rennes:none", require=Require.ANY)
    paper.settle()
    lyon, rennes = paper["lyon"], paper["rennes"]
    assert (lyon.answer(id).word, rennes.answer(id).word) == (Word.ACCEPTED, Word.REFUSED)
    for_rennes = rennes.table.get(id)
    assert for_rennes is not None
    with pytest.raises(Refused, match="rennes takes no part in v1"):
        adopted_vpn(rennes.table, for_rennes)
    rennes.table.drop(rennes.table.answer_record(id, "rennes").id)  # type: ignore[union-attr]
    with pytest.raises(Refused, match="has not answered"):
        adopted_vpn(rennes.table, for_rennes)
    for_lyon = lyon.table.get(id)
    assert for_lyon is not None
    assert adopted_vpn(lyon.table, for_lyon).adopter == "lyon"


def test_an_adopter_gives_of_its_own_and_nothing_that_is_in_use() -> None:
    paper, id = l2("lyon", "rennes")
    lyon = paper["lyon"]
    made = lyon.answer(id).network
    lyon.networks[made] = lyon_network(lyon, id)
    last = lyon.answer(id).ranges[-1].last
    lyon.host("a", made, str(last))
    record = lyon.table.get(id)
    assert record is not None
    lyon.write([adopted_vpn(lyon.table, record)])
    paper.change(id, "nantes:blue", "lyon", "rennes", "brest", at="lyon")
    before = {n: paper[n].answer(id).ranges for n in ("nantes", "rennes")}
    paper.settle()
    check_all(paper)
    assert ranges.within(last, lyon.answer(id).ranges)
    assert {n: paper[n].answer(id).ranges for n in ("nantes", "rennes")} == before
    assert paper["brest"].answer(id).word is Word.ACCEPTED


def lyon_network(site: Site, id: str) -> NetworkFacts:
    said = site.answer(id)
    return NetworkFacts(
        id=said.network,
        name=said.network_name,
        project=said.project,
        prefixes=said.prefixes,
        mtu=said.mtu,
        bridge="b",
        attachable=False,
    )


def test_owes_shrinks_when_a_member_has_drained() -> None:
    paper, id = l2("lyon", "rennes")
    for round_ in range(4):
        for extra in ("lyon", "brest"):
            paper.change(id, "nantes:blue", "rennes", extra)
            paper.settle()
            paper.change(id, "nantes:blue", "rennes")
            paper.settle()
            record = paper["nantes"].table.get(id)
            assert record is not None
            assert set(record.header.owes) <= {extra}, round_
    # A member that has left is told no more of the others.
    paper.change(id, "nantes:blue", "rennes", "lyon")
    paper.settle()
    answer = paper["rennes"].table.answer_record(id, "rennes")
    assert answer is not None
    assert "brest" not in answer.header.names


def test_who_had_let_go_has_not_said_yes_to_being_named_again() -> None:
    """lyon drains, is out, and is added again before it has heard that."""
    paper, id = l2("lyon", "rennes")
    paper.change(id, "nantes:blue", "rennes")
    paper.settle("nantes", "rennes")
    paper.tell("nantes", "lyon")
    paper["lyon"].say()
    paper.tell("lyon", "nantes")
    paper["nantes"].say()
    assert {a.site for a in paper["nantes"].body(id).attachments} == {"nantes", "rennes"}
    paper.change(id, "nantes:blue", "rennes", "lyon")
    paper.settle("nantes", "rennes")
    assert {a.site: a.agreed for a in paper["nantes"].body(id).attachments} == {
        "nantes": True,
        "rennes": True,
        "lyon": False,
    }
    paper.settle()
    assert all(a.agreed for a in paper["nantes"].body(id).attachments)


def test_a_leaver_that_was_silent_is_owed_until_it_says_so() -> None:
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", "10.0.0.0/24")
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes", require=Require.ANY)
    paper.settle("nantes", "lyon")
    paper.change(id, "nantes:blue", "lyon")
    paper["nantes"].write(forgetting(paper["nantes"].table, "rennes"))
    paper.settle("nantes", "lyon")
    assert {a.site for a in paper["nantes"].body(id).attachments} == {"nantes", "lyon"}


def test_mtu_is_judged_by_who_has_to_carry_it() -> None:
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", "10.0.0.0/24", mtu=1450)
    paper["lyon"].network("old", "10.0.0.0/24", mtu=1400)
    id = paper.vpn("nantes", "l2", "nantes:blue", "lyon:old")
    paper.settle()
    ended = paper["nantes"].body(id)
    assert "MTU 1400" in ended.refusal.text


def test_equal_prefixes_of_different_projects_never_meet() -> None:
    paper = Paper("nantes", "lyon")
    paper.map("lyon", "nantes", "green", "green")
    ids = []
    for project in ("red", "green"):
        paper["nantes"].network("blue", "10.0.0.0/24", project=project)
        ids.append(paper.vpn("nantes", "l2", "nantes:blue", "lyon", name=f"v-{project}", project=project))
    paper.settle()
    one, two = (segments(paper["lyon"])[id] for id in ids)
    assert one.vni != two.vni
    assert one.bridge != two.bridge
    assert one.network != two.network
    assert {paper["lyon"].answer(id).project for id in ids} == {"red", "green"}


def test_prefixes_are_settled_once_all_have_agreed() -> None:
    paper = Paper(*NAMES)
    for n, name in enumerate(NAMES):
        paper[name].network("db", f"10.{n}.0.0/24")
    id = paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db")
    paper.settle()
    body = paper["rennes"].body(id)
    assert all(a.agreed for a in body.attachments)
    assert [a.prefixes for a in body.attachments] == [(ip_network(f"10.{n}.0.0/24"),) for n in range(3)]
    routes = {r.site: r.prefixes for r in segments(paper["lyon"])[id].remotes}
    assert routes == {"nantes": (ip_network("10.0.0.0/24"),), "rennes": (ip_network("10.2.0.0/24"),)}


def test_a_no_of_a_member_that_had_agreed_ends_nothing_for_the_others() -> None:
    paper, id = l2("lyon", "rennes")
    standing = paper["lyon"].table.answer_record(id, "lyon")
    vpn = paper["nantes"].table.get(id)
    assert standing is not None
    assert vpn is not None
    body = replace(standing.body, word=Word.REFUSED, order=vpn.order, digest=vpn.digest)
    draft = Draft(kind=Kind.ANSWER, id=standing.id, names=standing.header.names, body=body)
    no = sealed("lyon", draft, replace(standing.order, seq=500))
    for site in ("nantes", "rennes"):
        assert paper[site].hear("lyon", no)
        paper[site].say()
    now = paper["nantes"].table.get(id)
    assert now is not None
    assert now.live
    assert {a.site for a in now.body.attachments} == {"nantes", "lyon", "rennes"}
    assert [r.site for r in segments(paper["rennes"])[id].remotes] == ["nantes"]
