"""Plans of changes as an operator reads them, at every member; and that a plan's name changes when the plan does.

A golden is a shell session: what was asked with `--plan`, and what was printed. To write them anew: UPDATE_GOLDEN=1.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from intertie.model.bodies import IntroductionBody, VpnKind
from intertie.model.records import Draft, Kind, Record, State
from intertie.model.views import VpnRequest
from intertie.planning.advertise import withdrawal
from intertie.planning.change import changed_vpn, closed_vpn, new_vpn
from intertie.planning.foresight import Foresight, base_of, foresee
from intertie.planning.identity import made_network
from tests.unit.paper import NOW, PROJECT, Paper, attachment

GOLDEN = Path(__file__).parent / "golden" / "plans"
SITES = ("nantes", "lyon", "rennes")


class Session:
    """What a user asks for with --plan, and what is printed."""

    def __init__(self, *sites: str) -> None:
        self.paper = Paper(*sites)
        self.lines: list[str] = []

    def say(self, words: str) -> None:
        self.lines.append(f"# {words}")

    def standing(self, id: str, at: str) -> Record:
        record = self.paper[at].table.get(id)
        assert record is not None
        return record

    def create(self, name: str, kind: str, *attachments: str, at: str = "nantes") -> str:
        wanted = " ".join(f"-a {a}" for a in attachments)
        request = VpnRequest(name=name, kind=VpnKind(kind), attachments=tuple(attachment(a) for a in attachments))
        draft = new_vpn(self.paper[at].situation, request, PROJECT, f"{at}.new", NOW)
        return self._print(at, f"vpn create {name} --kind {kind} {wanted} --plan", None, draft)

    def update(self, id: str, *attachments: str, at: str = "nantes", name: str = "") -> str:
        vpn = self.standing(id, at)
        draft = changed_vpn(
            self.paper[at].situation, vpn, name or vpn.body.name, [attachment(a) for a in attachments]
        )
        more = f" --name {name}" if name else ""
        wanted = " ".join(f"-a {a}" for a in attachments)
        return self._print(at, f"vpn update {vpn.body.name} {wanted}{more} --plan", vpn, draft)

    def delete(self, id: str, at: str = "nantes", *, force: str = "") -> str:
        vpn = self.standing(id, at)
        draft = withdrawal(vpn, vpn.body) if force else closed_vpn(vpn)
        return self._print(at, f"vpn delete {vpn.body.name}{force} --plan", vpn, draft)

    def _print(self, at: str, command: str, vpn: Record | None, draft: Draft) -> str:
        foreseen = foresee(self.paper[at].situation, vpn, draft)
        self.lines += [f"{at}$ intertie {command}", *told(foreseen)]
        return base_of(vpn, draft, foreseen)

    def check(self, name: str) -> None:
        path = GOLDEN / f"{name}.txt"
        text = "\n".join(self.lines) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text(), "the plan reads otherwise; if that is meant: UPDATE_GOLDEN=1"


def told(foreseen: Foresight) -> list[str]:
    """As the command line prints it."""
    lines = (*foreseen.changes, *foreseen.refusals, *foreseen.notes)
    width = max((len(x.site) for x in lines), default=0)
    return [f"{x.op} {x.site:<{width}}  {x.text.removeprefix(f'{x.op} ')}" for x in lines]


def stretched(*members: str, mtu: int = 1450) -> tuple[Session, str]:
    session = Session(*SITES, "brest")
    session.paper["nantes"].network("blue", "10.0.0.0/24", "2001:db8:1::/64", mtu=mtu)
    id = session.paper.vpn("nantes", "l2", "nantes:blue", *members, name="stretch")
    session.paper.settle()
    return session, id


def test_an_l2_vpn_to_be_made() -> None:
    session = Session(*SITES)
    blue = session.paper["nantes"].network("blue", "10.0.0.0/24", mtu=9000)
    session.paper["nantes"].host("web", blue, "10.0.0.9")
    session.say("hosts run with jumbo frames, and nobody has answered anything yet")
    session.create("stretch", "l2", "nantes:blue", "lyon", "rennes")
    session.check("foreseen-l2-create")


def test_members_come_and_go_at_once() -> None:
    session, id = stretched("lyon", "rennes")
    session.update(id, "nantes:blue", "rennes", "brest")
    session.say("and another name; nothing else")
    session.update(id, "nantes:blue", "lyon", "rennes", name="wide")
    session.say("asked at a member: the home gives of what only it can see to be free")
    session.update(id, "nantes:blue", "lyon", "rennes", "brest", at="lyon")
    session.check("foreseen-members")


def test_a_removal_and_an_end_taken_back() -> None:
    session, id = stretched("lyon", "rennes")
    lyon = session.paper["lyon"]
    made = made_network("lyon", id)
    lyon.networks[made] = replace(
        session.paper["nantes"].networks["nantes.n-red-blue"], id=made, addresses_in_use=(), ports=1
    )
    session.paper.change(id, "nantes:blue", "rennes")
    session.paper.settle()
    session.say("lyon is leaving, and has a port in use")
    session.update(id, "nantes:blue", "rennes")
    session.update(id, "nantes:blue", "lyon", "rennes")
    session.paper.close(id)
    session.say("the whole is ending")
    session.update(id, "nantes:blue", "lyon", "rennes")
    session.check("foreseen-taken-back")


def test_an_end() -> None:
    session, id = stretched("lyon")
    lyon = session.paper["lyon"]
    lyon.host("app", made_network("lyon", id), "10.0.0.130")
    session.delete(id, at="lyon")
    session.delete(id)
    session.delete(id, force=" --force")
    session.check("foreseen-delete")


def test_what_others_would_refuse_as_far_as_it_is_known() -> None:
    session = Session(*SITES)
    paper = session.paper
    for n, name in enumerate(SITES):
        paper[name].network("db", f"10.{n + 1}.0.0/24")
    paper["rennes"].network("wide", "10.0.0.0/8")
    paper.vpn("nantes", "l3", "nantes:db", "lyon:db", name="route")
    paper.vpn("rennes", "l3", "rennes:wide", "lyon:db", name="old")
    paper.settle()
    refuser = paper["rennes"]
    mapping = refuser.table.get("rennes.mapping.nantes.red")
    assert mapping is not None
    refuser.write(
        [Draft(kind=Kind.MAPPING, id=mapping.id, state=State.WITHDRAWN, body=mapping.body, base=mapping.order)]
    )
    paper["nantes"].network("green", "10.20.0.0/24")
    paper.vpn("nantes", "l3", "nantes:green", "rennes:db", name="asked")
    paper.settle()
    session.say("rennes has refused project red of nantes before")
    session.create("more", "l3", "nantes:green", "rennes:db")
    session.say("lyon routes 10.1.0.0/24 already, and has what would be rennes' beside it")
    paper["nantes"].network("near", "10.1.0.128/25")
    session.create("near", "l3", "nantes:near", "lyon:db")
    pin = paper["lyon"].table.get("lyon.introduction.rennes")
    assert pin is not None
    assert isinstance(pin.body, IntroductionBody)
    paper["lyon"].write(
        [Draft(kind=pin.header.kind, id=pin.id, state=State.WITHDRAWN, body=pin.body, base=pin.order)]
    )
    paper.tell("lyon", "nantes")
    paper["nantes"].network("blue", "10.30.0.0/24")
    session.say("lyon has no longer pinned rennes")
    session.create("three", "l2", "nantes:blue", "lyon", "rennes")
    session.check("foreseen-refusals")


def test_a_plan_has_the_same_name_until_it_would_do_something_else() -> None:
    session, id = stretched("lyon")
    nantes = session.paper["nantes"]
    wish = ("nantes:blue", "lyon", "rennes")
    first = session.update(id, *wish)
    assert session.update(id, *wish) == first
    assert session.update(id, *wish, name="other") != first
    nantes.uses("nantes.n-red-blue", "10.0.0.120")
    assert session.update(id, *wish) != first, "the range that it would give is another one"
    ended = session.delete(id, at="lyon")
    session.paper["lyon"].host("late", made_network("lyon", id), "10.0.0.140")
    assert session.delete(id, at="lyon") != ended, "a port came that would be in the way"
