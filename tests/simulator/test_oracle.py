"""The oracle, fed by hand: what is right passes, and each invariant is noticed when it is broken, in one event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from intertie.model.bodies import GrantBody, MappingBody, Range, Word
from intertie.model.errors import Reason
from intertie.model.records import Kind, Order, State
from intertie.planning.identity import made_network
from intertie.testing.simulator.story import Verb
from tests.simulator.stage import NET, VPN, Stage, told_of

Story = Callable[[Stage], object]
LYONS = made_network("lyon", VPN)


# ── What is right ──────────────────────────────────────────────────────────────────────────────────────────


def nothing(s: Stage) -> None:
    pass


def stands(s: Stage) -> None:
    s.standing("lyon", "rennes")


def hosts(s: Stage) -> None:
    s.standing()
    s.host("nantes", "web", NET, "10.0.0.2")
    s.host("lyon", "db", LYONS, "10.0.0.200")
    s.rounds()


def closes(s: Stage) -> None:
    vpn = s.standing()
    s.ask(Verb.DELETE, "nantes", "stretch", code="in-use")
    vpn = s.again(vpn, state=State.CLOSING)
    for site in vpn.header.names:
        s.answer(vpn, site, Word.DRAINED)
    vpn = s.again(vpn, state=State.WITHDRAWN)
    for site in vpn.header.names:
        s.answer(vpn, site, Word.DRAINED, state=State.WITHDRAWN)
    s.rounds()


def is_refused(s: Stage) -> None:
    s.network()
    vpn = s.vpn(agreed=False)
    s.answer(vpn, "lyon", Word.REFUSED, network="", reason=Reason(code="in-use", text="no room"))
    s.again(vpn, state=State.WITHDRAWN, refusal=Reason(code="refused-by-member", text="lyon: no room"))
    s.rounds()


def a_member_leaves(s: Stage) -> None:
    vpn = s.standing("lyon", "rennes")
    s.ask(Verb.CHANGE, "nantes", "stretch", attachments=("nantes:blue", "rennes"))
    leaving = tuple(replace(a, leaving=a.site == "lyon") for a in vpn.body.attachments)
    vpn = s.again(vpn, attachments=leaving)
    gone = s.answer(vpn, "lyon", Word.DRAINED)
    first, theirs, third = vpn.body.shares
    whole = tuple(sorted((*first.ranges, *theirs.ranges)))
    joined = (replace(first, ranges=(Range(first=whole[0].first, last=whole[-1].last),)), third)
    vpn = s.again(vpn, attachments=tuple(a for a in leaving if not a.leaving), shares=joined)
    s.again(gone, state=State.WITHDRAWN)
    s.answer(vpn, "nantes")
    s.rounds()


def a_store_is_lost(s: Stage) -> None:
    s.standing()
    s.strike(Verb.LOSE_STORE, "lyon")
    for site in s.disks:
        for record in list(s.disks[site].values()):
            if record.home == site != "lyon" and record.concerns("lyon"):
                s.say(record, "lyon")
    for record in sorted((r for r in s.disks["nantes"].values() if r.home == "lyon"), key=lambda r: r.cursor):
        s.say(record, "lyon")


RIGHT = (nothing, stands, hosts, closes, is_refused, a_member_leaves, a_store_is_lost)


@pytest.mark.parametrize("story", RIGHT)
def test_what_is_right_passes(story: Story) -> None:
    stage = Stage()
    story(stage)
    stage.rest()
    assert stage.oracle.violations == []


# ── What is wrong, as it happens ───────────────────────────────────────────────────────────────────────────


def one_address_twice(s: Stage) -> None:
    s.standing()
    s.host("nantes", "web", NET, "10.0.0.9")
    s.host("lyon", "db", LYONS, "10.0.0.9")
    s.rounds()


def one_number_for_two_vpns(s: Stage) -> None:
    s.standing()
    s.vpn(id="nantes.vpn2", name="other")


def one_number_on_two_planes(s: Stage) -> None:
    s.standing()
    s.put("rennes", None, replace(s.segment("lyon"), vpn="nantes.gone"))


def one_block_granted_twice(s: Stage) -> None:
    for to, first, last in (("nantes", 0, 99), ("lyon", 50, 99), ("rennes", 40, 60)):
        body = GrantBody(space="vni", first=first, last=last, to=to)
        s.say(s.record("nantes", Kind.GRANT, f"nantes.grant.vni.{to}.{first}", body))


def ranges_that_meet(s: Stage) -> None:
    vpn = s.standing()
    s.answer(vpn, "lyon", ranges=(Range(first=ip_address("10.0.0.5"), last=ip_address("10.0.0.200")),))


def a_range_outside(s: Stage) -> None:
    vpn = s.standing()
    s.answer(vpn, "lyon", ranges=(Range(first=ip_address("10.0.1.5"), last=ip_address("10.0.1.9")),))


def space_that_leaks(s: Stage) -> None:
    vpn = s.standing()
    first, second = vpn.body.shares
    s.again(vpn, shares=(replace(first, ranges=()), second))


def sent_before_it_was_durable(s: Stage) -> None:
    s.network()
    vpn = s.vpn()
    s.say(s.next(vpn), "lyon")


def a_tombstone_lives_again(s: Stage) -> None:
    vpn = s.standing()
    s.ask(Verb.DELETE, "nantes", "stretch", force=True)
    vpn = s.again(vpn, state=State.WITHDRAWN)
    s.again(vpn, state=State.LIVE)


def a_segment_comes_back(s: Stage) -> None:
    vpn = s.standing()
    segment = s.segment("lyon")
    s.ask(Verb.DELETE, "nantes", "stretch", force=True)
    s.again(vpn, state=State.WITHDRAWN)
    s.rounds()
    s.put("lyon", None, segment)


def two_digests_for_one_order(s: Stage) -> None:
    vpn = s.standing()
    other = replace(vpn.body, name="changed")
    s.say(s.record("nantes", Kind.VPN, VPN, other, order=vpn.order, names=vpn.header.names), "rennes")


def an_order_that_falls(s: Stage) -> None:
    vpn = s.standing()
    later = s.again(vpn)
    assert later.order > vpn.order
    s.say(vpn, "lyon")


def a_place_given_twice(s: Stage) -> None:
    s.standing()
    body = MappingBody(peer="lyon", theirs="ops", ours="ops")
    s.say(s.record("nantes", Kind.MAPPING, "nantes.mapping.lyon.ops", body, order=Order(0, "", 1, 1)))


def a_forged_signature(s: Stage) -> None:
    vpn = s.standing()
    s.say(replace(s.next(vpn), signature=b"signed by lyon"))


def a_vpn_changes_its_nature(s: Stage) -> None:
    s.again(s.standing(), mtu=1400)


def accepted_without_a_mapping(s: Stage) -> None:
    mapping = s.disks["lyon"]["lyon.mapping.nantes.demo"]
    s.again(mapping, "lyon", state=State.WITHDRAWN)
    s.network()
    s.answer(s.vpn(), "lyon")


def silence_taken_for_a_refusal(s: Stage) -> None:
    s.network()
    vpn = s.vpn(agreed=False)
    s.again(vpn, state=State.WITHDRAWN, refusal=Reason(code="refused-by-member", text="lyon: silent"))


def a_running_vpn_refused(s: Stage) -> None:
    vpn = s.standing()
    s.answer(vpn, "lyon", Word.REFUSED, network="")
    s.again(vpn, state=State.WITHDRAWN, refusal=Reason(code="refused-by-member", text="lyon: no"))


def ended_by_nobody(s: Stage) -> None:
    s.again(s.standing(), state=State.WITHDRAWN)


def closed_by_nobody(s: Stage) -> None:
    s.again(s.standing(), state=State.CLOSING)


def ended_before_a_member_let_go(s: Stage) -> None:
    vpn = s.standing()
    s.ask(Verb.DELETE, "nantes", "stretch", code="")
    vpn = s.again(vpn, state=State.CLOSING)
    s.answer(vpn, "nantes", Word.DRAINED)
    s.again(vpn, state=State.WITHDRAWN)


def a_member_dropped_by_nobody(s: Stage) -> None:
    vpn = s.standing("lyon", "rennes")
    s.again(vpn, attachments=tuple(a for a in vpn.body.attachments if a.site != "rennes"))


def drained_with_a_host(s: Stage) -> None:
    vpn = s.standing()
    s.host("lyon", "db", LYONS, "10.0.0.200")
    s.ask(Verb.DELETE, "nantes", "stretch", code="")
    vpn = s.again(vpn, state=State.CLOSING)
    s.answer(vpn, "lyon", Word.DRAINED)


def a_promise_taken_back(s: Stage) -> None:
    vpn = s.standing()
    s.answer(vpn, "lyon", Word.REFUSED, network="")


def a_promise_forgotten_with_the_store(s: Stage) -> None:
    vpn = s.standing()
    s.strike(Verb.LOSE_STORE, "lyon")
    s.say(vpn, "lyon")
    s.answer(vpn, "lyon", Word.REFUSED, network="")


def cut_off_by_silence(s: Stage) -> None:
    s.standing()
    segment = s.segment("nantes")
    s.put("nantes", segment, replace(segment, remotes=()))


def cut_off_by_an_empty_store(s: Stage) -> None:
    s.standing()
    s.strike(Verb.LOSE_STORE, "nantes")
    segment = s.segment("nantes")
    s.put("nantes", segment, replace(segment, remotes=()))


def a_segment_removed_for_nothing(s: Stage) -> None:
    s.standing()
    s.put("lyon", s.segment("lyon"), None)


def removed_by_an_empty_store(s: Stage) -> None:
    s.standing()
    s.strike(Verb.LOSE_STORE, "lyon")
    s.put("lyon", s.segment("lyon"), None)


def a_host_removed_for_nothing(s: Stage) -> None:
    hosts(s)
    s.put("lyon", s.item("lyon", "db"), None)


def a_made_network_removed_for_nothing(s: Stage) -> None:
    s.standing()
    s.put("lyon", s.item("lyon", "blue"), None)


def a_local_request_asks_others(s: Stage) -> None:
    s.ask(Verb.NETWORK, "lyon", "red", code="owner-silent")


def a_local_request_hangs(s: Stage) -> None:
    step = s.ask(Verb.HOST, "lyon", "db", code="")
    s.now += 70.0
    s.ask(Verb.HOST, "lyon", "web")
    s.oracle.told(told_of(step, s.now, "no-reply"))


def a_forgotten_peer_is_called(s: Stage) -> None:
    s.ask(Verb.FORGET, "lyon", other="rennes")
    s.oracle.sent(s.now + 20.0, "lyon", "rennes", "request", "goes")
    s.rest()


AT_ONCE: tuple[tuple[Story, str], ...] = (
    (one_address_twice, "I1"),
    (one_number_for_two_vpns, "I1"),
    (one_number_on_two_planes, "I1"),
    (one_block_granted_twice, "I1"),
    (ranges_that_meet, "I2"),
    (a_range_outside, "I2"),
    (space_that_leaks, "I2"),
    (sent_before_it_was_durable, "rule 3"),
    (a_tombstone_lives_again, "I6"),
    (a_segment_comes_back, "I6"),
    (two_digests_for_one_order, "I7"),
    (an_order_that_falls, "I7"),
    (a_place_given_twice, "I7"),
    (a_forged_signature, "I16"),
    (a_vpn_changes_its_nature, "rule 5"),
    (accepted_without_a_mapping, "I17"),
    (silence_taken_for_a_refusal, "rule 9"),
    (a_running_vpn_refused, "rule 9"),
    (ended_by_nobody, "I21"),
    (closed_by_nobody, "I21"),
    (ended_before_a_member_let_go, "rule 12"),
    (a_member_dropped_by_nobody, "I21"),
    (drained_with_a_host, "rule 12"),
    (a_promise_taken_back, "rule 6"),
    (a_promise_forgotten_with_the_store, "rule 18"),
    (cut_off_by_silence, "rule 10"),
    (cut_off_by_an_empty_store, "I22"),
    (a_segment_removed_for_nothing, "rule 10"),
    (removed_by_an_empty_store, "I22"),
    (a_host_removed_for_nothing, "I21"),
    (a_made_network_removed_for_nothing, "rule 10"),
    (a_local_request_asks_others, "I15"),
    (a_local_request_hangs, "I15"),
    (a_forgotten_peer_is_called, "I16"),
)


@pytest.mark.parametrize(("story", "invariant"), AT_ONCE, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_what_is_wrong_is_noticed_when_it_happens(story: Story, invariant: str) -> None:
    stage = Stage()
    story(stage)
    assert invariant in stage.broken()
