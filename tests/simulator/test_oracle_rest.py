"""The oracle, fed by hand: what is wrong when all rests, and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from intertie.agent.access import Caller, Role
from intertie.model.bodies import MappingBody
from intertie.model.records import Kind, State
from intertie.planning.identity import made_network
from intertie.testing.simulator.story import Verb
from tests.simulator.stage import VPN, Stage, told_of

Story = Callable[[Stage], object]
LYONS = made_network("lyon", VPN)
OPERATOR = Caller(project="demo", role=Role.ADMIN)


def a_promised_host_is_missing(s: Stage) -> None:
    s.standing()
    s.host("lyon", "db", LYONS, "10.0.0.200")


def what_a_user_was_told_is_missing(s: Stage) -> None:
    s.ask(Verb.NETWORK, "lyon", "red", id="lyon.red")


def other_addresses_than_were_told(s: Stage) -> None:
    s.standing()
    record = s.host("lyon", "db", LYONS, "10.0.0.200")
    s.ask(Verb.HOST, "lyon", "db", id=record.id, answer=replace(record.body, addresses=(ip_address("10.0.0.201"),)))
    s.rounds()


def a_deleted_host_is_there(s: Stage) -> None:
    s.standing()
    record = s.host("lyon", "db", LYONS, "10.0.0.200")
    s.ask(Verb.HOST, "lyon", "db", id=record.id, answer=record.body)
    s.rounds()
    s.ask(Verb.DROP_HOST, "lyon", "db")


def a_vpn_that_was_shown_is_lost(s: Stage) -> None:
    vpn = s.standing()
    view = s.vpns("nantes", OPERATOR)[0]
    s.ask(Verb.VPN, "nantes", "stretch", id=vpn.id, answer=replace(view, version=(1, 99)))


def a_refused_network_is_there(s: Stage) -> None:
    s.network()
    s.rounds()
    s.oracle._users.lives.clear()
    s.ask(Verb.NETWORK, "nantes", "blue", code="name-taken")


def a_refused_vpn_stands(s: Stage) -> None:
    s.network()
    step = s.ask(Verb.VPN, "nantes", "stretch", code="")
    s.vpn()
    s.oracle.told(told_of(step, s.now + 1.0, "refused-by-member"))


def a_forgotten_peer_is_trusted(s: Stage) -> None:
    s.ask(Verb.FORGET, "lyon", other="rennes")


def a_mapping_is_lost(s: Stage) -> None:
    s.ask(Verb.MAP, "lyon", other="rennes", project="ops", amount=1.0)


def forwards_what_has_ended(s: Stage) -> None:
    vpn = s.standing()
    s.ask(Verb.DELETE, "nantes", "stretch", force=True)
    s.again(vpn, state=State.WITHDRAWN)


def lets_a_stranger_in(s: Stage) -> None:
    s.standing()
    segment = s.segment("lyon")
    s.put("lyon", segment, replace(segment, remotes=(*segment.remotes, replace(segment.remotes[0], site="rennes"))))


def forwards_to_nobody(s: Stage) -> None:
    s.standing("lyon", "rennes")
    segment = s.segment("lyon")
    s.oracle._scene.liars.add("lyon")
    s.put("lyon", segment, replace(segment, remotes=()))
    s.oracle._scene.liars.clear()


def ready_though_nothing_crosses(s: Stage) -> None:
    s.standing()
    s.boast = True
    s.plane.damage("lyon", next(iter(s.plane.segments["lyon"])))


def not_ready_and_no_reason(s: Stage) -> None:
    s.standing()
    s.plane.cut("nantes", "lyon")


def closing_for_ever(s: Stage) -> None:
    vpn = s.standing()
    s.ask(Verb.DELETE, "nantes", "stretch", code="in-use")
    s.again(vpn, state=State.CLOSING)


def copies_that_differ(s: Stage) -> None:
    s.again(s.standing(), "nantes")


def a_record_is_gone(s: Stage) -> None:
    s.standing()
    del s.disks["lyon"][VPN]


def another_projects_vpn_is_shown(s: Stage) -> None:
    s.standing()
    s.ask(Verb.VERIFY, "nantes", "stretch", project="ops")
    s.leak = True


def records_without_end(s: Stage) -> None:
    for n in range(200):
        body = MappingBody(peer="lyon", theirs=f"p{n}", ours="demo")
        s.say(s.record("nantes", Kind.MAPPING, f"nantes.mapping.lyon.p{n}", body))


def a_question_without_an_answer(s: Stage) -> None:
    s.ask(Verb.CHANGE, "nantes", "stretch", code="")


def a_storm(s: Stage) -> None:
    for n in range(400):
        s.oracle.sent(s.now + n / 10, "lyon", "rennes", "request", "goes")


def nobody_runs(s: Stage) -> None:
    s.down.add("lyon")


AT_REST: tuple[tuple[Story, str], ...] = (
    (a_promised_host_is_missing, "I3"),
    (what_a_user_was_told_is_missing, "I3"),
    (other_addresses_than_were_told, "I1"),
    (a_deleted_host_is_there, "I6"),
    (a_vpn_that_was_shown_is_lost, "I3"),
    (a_refused_network_is_there, "I4"),
    (a_refused_vpn_stands, "I4"),
    (a_forgotten_peer_is_trusted, "I3"),
    (a_mapping_is_lost, "I3"),
    (forwards_what_has_ended, "I4"),
    (lets_a_stranger_in, "I16"),
    (forwards_to_nobody, "I5"),
    (ready_though_nothing_crosses, "I5"),
    (not_ready_and_no_reason, "life"),
    (closing_for_ever, "life"),
    (copies_that_differ, "I8"),
    (a_record_is_gone, "I6"),
    (another_projects_vpn_is_shown, "I17"),
    (records_without_end, "I19"),
    (a_question_without_an_answer, "life"),
    (a_storm, "I18"),
    (nobody_runs, "life"),
)


@pytest.mark.parametrize(("story", "invariant"), AT_REST, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_what_is_wrong_is_noticed_at_rest(story: Story, invariant: str) -> None:
    stage = Stage()
    story(stage)
    assert invariant not in stage.broken(), "nothing tells so before"
    stage.rest()
    assert invariant in stage.broken()


@pytest.mark.parametrize(("later", "invariant"), [(3.0, "I14"), (20.0, "I13")])
def test_nothing_is_done_after_rest(later: float, invariant: str) -> None:
    stage = Stage()
    vpn = stage.standing()
    stage.rest()
    stage.now += later
    stage.answer(vpn, "lyon")
    segment = stage.segment("lyon")
    stage.put("lyon", segment, replace(segment, mtu=1400))
    assert [v.invariant for v in stage.oracle.violations] == [invariant] * 3, "two disks and a plane"
