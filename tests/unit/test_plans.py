"""Plans as an operator reads them: one story of three sites, each step's plan at each site as text.

A golden is a shell session: what was done, then `intertie plan` at each site that has something to do. To write
them anew: UPDATE_GOLDEN=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from intertie.model.items import Host, Item, Network, NetworkFacts, Segment, key
from intertie.model.records import Cursor, Draft, Kind, State
from intertie.planning.advertise import withdrawal
from intertie.planning.compile import compile_site, may_go, retained
from intertie.planning.diff import Plan, diff
from intertie.planning.enrol import forgetting
from intertie.planning.hearing import concerning
from intertie.planning.table import Table
from tests.unit.paper import Paper, Site

GOLDEN = Path(__file__).parent / "golden" / "plans"
SITES = ("nantes", "lyon", "rennes")


class Session:
    """A federation whose clouds hold what their plans said, and everything that was printed."""

    def __init__(self, *sites: str) -> None:
        self.paper = Paper(*sites)
        self.systems: dict[str, dict[object, Item]] = {s: {} for s in sites}
        self.blocked: set[str] = set()
        self.lines: list[str] = []

    def __getitem__(self, site: str) -> Site:
        return self.paper[site]

    def network(self, site: str, name: str, *prefixes: str, mtu: int = 1450) -> str:
        id = self.paper[site].network(name, *prefixes, mtu=mtu)
        for item in compile_site(self.paper[site].table):
            if isinstance(item, Network) and item.id == id:
                self.systems[site][key(item)] = item
        return id

    def plan(self, did: str, table: Callable[[Site], Table] = lambda s: s.table) -> None:
        """Print what each site would do now, and do it; the second plan must say nothing more to do."""
        self.lines.append(did if did.startswith("#") else f"$ {did}")
        for name, system in self.systems.items():
            site = self.paper[name]
            known = table(site)
            text = str(self._plan(site, known, system.values()))
            for change in self._plan(site, known, system.values()).changes:
                if change.op == "-":
                    del system[key(change.item)]
                else:
                    system[key(change.item)] = change.item
            if text:
                self.lines += [f"{name}$ intertie plan", *text.splitlines()]
            assert not self._plan(site, known, system.values()).changes
            self._look(site, system.values())

    def _plan(self, site: Site, table: Table, seen: Collection[Item]) -> Plan:
        ports = {n.id: n.ports for n in site.networks.values()}
        wanted = retained(table, compile_site(table, self.blocked), seen)
        return diff(wanted, seen, partial(may_go, table), lambda n: ports.get(n, 0))

    def _look(self, site: Site, items: Collection[Item]) -> None:
        """The inventory follows what was made; ports that are not our hosts' stay as they were told."""
        for item in items:
            if isinstance(item, Network):
                had = site.networks.get(item.id)
                hosts = [i for i in items if isinstance(i, Host) and i.network == item.id]
                site.networks[item.id] = NetworkFacts(
                    id=item.id,
                    name=item.name,
                    project=item.project,
                    prefixes=item.prefixes,
                    mtu=item.mtu,
                    bridge=item.bridge,
                    addresses_in_use=had.addresses_in_use if had else (),
                    ports=len(hosts),
                )
        here = {i.id for i in items if isinstance(i, Network)}
        for id in [i for i in site.networks if i not in here]:
            del site.networks[id]

    def check(self, name: str) -> None:
        path = GOLDEN / f"{name}.txt"
        text = "\n".join(self.lines) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), "the plan reads otherwise; if that is meant: UPDATE_GOLDEN=1"


def l2() -> tuple[Session, str]:
    session = Session(*SITES)
    session.network("nantes", "blue", "10.0.0.0/24", "2001:db8:1::/64")
    id = session.paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes", name="stretch")
    session.paper.settle()
    return session, id


def quietly(session: Session) -> None:
    """Carry out without printing what another golden shows."""
    session.plan("")
    session.lines.clear()


def test_l2_created() -> None:
    session, _ = l2()
    session.plan("intertie vpn create stretch --kind l2 -a nantes:blue -a lyon -a rennes")
    session.plan("# again: there is nothing to do")
    session.check("l2-created")


def test_a_segment_that_is_made_anew_says_why() -> None:
    session, _ = l2()
    quietly(session)
    lyon = session["lyon"]
    lyon.underlay = IPv4Address("192.0.2.99")
    session.paper.settle()
    session.plan("# lyon's machine has another address: its own segment is replaced, those of the others are edited")
    session.check("segment-replaced")


def test_l2_while_a_member_is_silent() -> None:
    session = Session(*SITES)
    session.network("nantes", "blue", "10.0.0.0/24")
    session.paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes", name="stretch")
    session.paper.settle("nantes", "rennes")
    session.plan("intertie vpn create stretch --kind l2 -a nantes:blue -a lyon -a rennes   # lyon is away")
    session.paper.settle()
    session.plan("# lyon returns")
    session.check("l2-silent-member")


def test_a_member_added_and_removed() -> None:
    session = Session(*SITES)
    session.network("nantes", "blue", "10.0.0.0/24")
    id = session.paper.vpn("nantes", "l2", "nantes:blue", "lyon", name="stretch")
    session.paper.settle()
    quietly(session)
    session.paper.change(id, "nantes:blue", "lyon", "rennes")
    session.paper.settle()
    session.plan("intertie vpn update stretch -a nantes:blue -a lyon -a rennes")
    session.paper.change(id, "nantes:blue", "rennes")
    session.paper.settle()
    session.plan("intertie vpn update stretch -a nantes:blue -a rennes")
    session.check("member-added-removed")


def test_l3_created_and_a_member_added() -> None:
    session = Session(*SITES, "brest")
    for n, name in enumerate((*SITES, "brest")):
        session.network(name, "db", f"10.{n + 1}.0.0/24", f"2001:db8:{n + 1}::/64")
    id = session.paper.vpn("nantes", "l3", "nantes:db", "lyon:db", "rennes:db", name="route")
    session.paper.settle()
    session.plan("intertie vpn create route --kind l3 -a nantes:db -a lyon:db -a rennes:db")
    session.paper.change(id, "nantes:db", "lyon:db", "rennes:db", "brest:db")
    session.paper.settle()
    session.plan("intertie vpn update route -a nantes:db -a lyon:db -a rennes:db -a brest:db")
    session.check("l3-created")


def test_deleted() -> None:
    session, id = l2()
    quietly(session)
    session.paper.close(id)
    session.paper.settle()
    session.plan("intertie vpn delete stretch")
    session.check("deleted")


def test_deleted_by_force_while_hosts_are_on_the_network() -> None:
    session, id = l2()
    quietly(session)
    lyon = session["lyon"]
    made = lyon.answer(id).network
    free = lyon.answer(id).ranges[0].last
    lyon.host("a", made, str(free))
    session.plan("intertie host create a --network blue   # at lyon")
    session.paper.close(id)
    session.paper.settle()
    session.plan("intertie vpn delete stretch   # lyon holds 1 port: nothing moves")
    force(session, id)
    session.plan("intertie vpn delete stretch --force")
    gone = lyon.table.get("lyon.h-a")
    assert gone is not None
    lyon.write([Draft(kind=Kind.HOST, id=gone.id, state=State.WITHDRAWN, body=gone.body, base=gone.order)])
    session.plan("intertie host delete a")
    session.check("deleted-by-force")


def test_a_network_with_somebody_elses_ports_is_kept() -> None:
    session, id = l2()
    quietly(session)
    rennes = session["rennes"]
    made = rennes.answer(id).network
    rennes.networks[made] = replace(rennes.networks[made], ports=2)
    force(session, id)
    session.plan("intertie vpn delete stretch --force   # two virtual machines are on blue at rennes")
    session.check("kept-with-ports")


def test_orphans_after_a_lost_store() -> None:
    session, _ = l2()
    quietly(session)
    lost = {"lyon": Table("lyon")}
    session.plan("rm intertie.db   # at lyon", lambda s: lost.get(s.name, s.table))
    own = [r for kind in Kind for r in session["lyon"].table.all_of(kind) if r.home == "lyon"]
    for record in [r for r in own if r.header.kind is Kind.INTRODUCTION]:
        lost["lyon"].apply(record)
    for peer in ("nantes", "rennes"):
        for record in [*concerning(session[peer].table, "lyon", Cursor()), *own]:
            if record.home == peer or record.concerns(peer):
                lost["lyon"].apply(record)
        session.plan(f"# {peer} gives back what it holds", lambda s: lost.get(s.name, s.table))
    session.check("orphans")


def test_blocked_by_a_loop() -> None:
    session, id = l2()
    quietly(session)
    session.blocked.add(id)
    session.plan("# a frame of its own came back to each site from the tenant side")
    session.blocked.clear()
    session.plan("# a minute later")
    session.check("loop")


def test_a_site_is_forgotten() -> None:
    session, _ = l2()
    quietly(session)
    session["nantes"].write(forgetting(session["nantes"].table, "lyon"))
    session.paper.settle("nantes", "rennes")
    session.plan("intertie site forget lyon   # at nantes")
    session.check("forgotten")


def test_drift_is_repaired_and_says_what_differs() -> None:
    session, _ = l2()
    quietly(session)
    system = session.systems["lyon"]
    for k, item in list(system.items()):
        if isinstance(item, Segment):
            system[k] = replace(item, mtu=1400, remotes=item.remotes[:1])
        if isinstance(item, Network):
            system[k] = replace(item, mtu=1500)
    session.plan("ip link set dev BRIDGE mtu 1500   # at lyon, and more by somebody's hand")
    for k, item in list(system.items()):
        if isinstance(item, Segment):
            del system[k]
    session.plan("ip link delete dev VXLAN   # at lyon")
    session.check("drift")


def test_the_smallest_mtu_is_the_vpns() -> None:
    session = Session(*SITES)
    session.network("nantes", "jumbo", "10.0.0.0/24", mtu=1400)
    session.paper.vpn("nantes", "l2", "nantes:jumbo", "lyon", name="small")
    session.paper.settle()
    session.plan("intertie vpn create small --kind l2 -a nantes:jumbo -a lyon   # MTU 1400 at nantes")
    session.check("mtu")


def force(session: Session, id: str) -> None:
    nantes = session["nantes"]
    record = nantes.table.get(id)
    assert record is not None
    nantes.write([withdrawal(record, record.body)])
    session.paper.settle()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda p: p.stem)
def test_goldens_read_like_a_session(path: Path) -> None:
    """Every line is a command, an op with its item, or a remark; none is longer than a wide terminal."""
    for line in path.read_text().splitlines():
        assert line.startswith(("$ ", "# ", "+ ", "~ ", "- ", "? ", "! ", *(f"{s}$ " for s in (*SITES, "brest")))), (
            line
        )
        assert len(line) <= 250
