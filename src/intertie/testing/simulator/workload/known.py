"""What the users of a story believe to exist: enough for most of what they ask to make sense.

`Known.note` follows every step as if it went well, in the order of time. It is no second implementation: it does not
know who wins a race, nor when a member answers, and where it is wrong the story has one more contested request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

from intertie.testing.simulator.story import Step, Verb


@dataclass(slots=True)
class Net:
    """A network of one site."""

    site: str
    project: str
    name: str
    prefixes: tuple[str, ...]
    made_for: str = ""
    """The Vpn that it was made for; "" if a user made it."""
    hosts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Tie:
    """A Vpn; `members`: site → its attachment as a user writes it ("lyon" or "lyon:blue"), in the order given."""

    name: str
    project: str
    kind: str
    home: str
    members: dict[str, str]
    network: str = ""
    """L2: the name of the network that is stretched,"""
    prefixes: tuple[str, ...] = ()
    """and its prefixes."""
    closing: bool = False

    def net_of(self, site: str) -> str:
        """The name of its network at a site; "" if that is no member, or names none."""
        return self.members.get(site, "").partition(":")[2] or self.network


class Known:
    """See the module's docstring."""

    def __init__(self, sites: tuple[str, ...]) -> None:
        self.sites: list[str] = list(sites)
        self.down: dict[str, float] = {}
        """Site → since when."""
        self.still: dict[str, float] = {}
        """Site → until when its agent is paused."""
        self.cuts: dict[tuple[str, str], float] = {}
        """(from, to) → until when nothing crosses."""
        self.forgot: set[tuple[str, str]] = set()
        """(site, whom it has forgotten)."""
        self.copies: set[str] = set()
        """Sites of which the operator has a backup."""
        self.nets: list[Net] = []
        self.orphans: list[Net] = []
        """Networks whose site has lost its database."""
        self.ties: list[Tie] = []
        self.maps: set[tuple[str, str, str]] = set()
        """(site, other, project): `site` lets `project` of `other` act; `demo` is mapped from the start."""
        self.unmapped: set[tuple[str, str]] = set()
        """(site, other) where `demo` was taken back."""

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────────────

    def runs(self, site: str, now: float) -> bool:
        return site not in self.down and self.still.get(site, 0.0) <= now

    def up(self, now: float) -> list[str]:
        return [s for s in self.sites if self.runs(s, now)]

    def reach(self, a: str, b: str, now: float) -> bool:
        """Whether a call from `a` to `b` and its reply come through."""
        return self.cuts.get((a, b), 0.0) <= now and self.cuts.get((b, a), 0.0) <= now

    def friends(self, a: str, b: str) -> bool:
        """Whether neither has forgotten the other."""
        return (a, b) not in self.forgot and (b, a) not in self.forgot

    def net(self, site: str, project: str, name: str) -> Net | None:
        return next((n for n in self.nets if (n.site, n.project, n.name) == (site, project, name)), None)

    def tie(self, name: str, project: str) -> Tie | None:
        return next((t for t in self.ties if (t.name, t.project) == (name, project)), None)

    def ties_on(self, net: Net) -> list[Tie]:
        """The Vpns that are attached to a network."""
        return [
            t
            for t in self.ties
            if t.project == net.project and net.site in t.members and t.net_of(net.site) == net.name
        ]

    def free_nets(self, site: str, project: str) -> list[Net]:
        """Networks of a user's at `site` that no Vpn touches."""
        found = (n for n in self.nets if n.site == site and n.project == project and not n.made_for)
        return [n for n in found if not self.ties_on(n)]

    def hosts(self) -> list[tuple[Net, str]]:
        return [(n, h) for n in self.nets for h in n.hosts]

    def busy(self, tie: Tie) -> list[Net]:
        """The networks made for a Vpn on which hosts live: they keep it from ending."""
        return [n for n in self.nets if n.made_for == tie.name and n.project == tie.project and n.hosts]

    def mapped(self, site: str, other: str, project: str) -> bool:
        if project == "demo":
            return (site, other) not in self.unmapped
        return (site, other, project) in self.maps

    # ── Following ──────────────────────────────────────────────────────────────────────────────────────────

    def note(self, step: Step) -> None:
        """Take a step as done."""
        follow = _FOLLOW.get(step.verb)
        if follow is not None:
            follow(self, step)

    def _network(self, step: Step) -> None:
        if self.net(step.site, step.project, step.name) is None and sound(step.prefixes):
            self.nets.append(Net(step.site, step.project, step.name, step.prefixes))

    def _drop_network(self, step: Step) -> None:
        net = self.net(step.site, step.project, step.name)
        if net is not None and not net.hosts and not net.made_for and not self.ties_on(net):
            self.nets.remove(net)

    def _host(self, step: Step) -> None:
        net = self.net(step.site, step.project, step.network)
        if net is not None and step.name not in net.hosts and not any(t.closing for t in self.ties_on(net)):
            net.hosts.append(step.name)

    def _drop_host(self, step: Step) -> None:
        for net in self.nets:
            if net.site == step.site and net.project == step.project and step.name in net.hosts:
                net.hosts.remove(step.name)
        for tie in [t for t in self.ties if t.closing and not self.busy(t)]:
            self._end(tie)

    def _vpn(self, step: Step) -> None:
        members = {a.partition(":")[0]: a for a in step.attachments}
        first = self.net(step.site, step.project, members.get(step.site, "").partition(":")[2])
        known = len(members) > 1 and not members.keys() - set(self.sites)
        if self.tie(step.name, step.project) is not None or first is None or not known:
            return
        tie = Tie(step.name, step.project, step.kind, step.site, members)
        if step.kind == "l2":
            tie.network, tie.prefixes = first.name, first.prefixes
        agreed = [s for s in members if s in (step.site, *self._willing(tie))]
        if step.require == "all" and len(agreed) < len(members):
            return
        self.ties.append(tie)
        self._make_nets(tie)

    def _willing(self, tie: Tie) -> list[str]:
        others = [s for s in tie.members if s != tie.home]
        if tie.kind == "l3":
            others = [s for s in others if not self.clash(tie, s)]
        others = [s for s in others if all(self.friends(s, o) for o in tie.members)]
        return [s for s in others if self.mapped(s, tie.home, tie.project)]

    def clash(self, tie: Tie, site: str) -> bool:
        """Whether a member's prefixes overlap those of an earlier one, or it has no such network."""
        mine = self.net(site, tie.project, tie.net_of(site))
        if mine is None:
            return True
        for other in list(tie.members)[: list(tie.members).index(site)]:
            theirs = self.net(other, tie.project, tie.net_of(other))
            if theirs is not None and overlap(mine.prefixes, theirs.prefixes):
                return True
        return False

    def _make_nets(self, tie: Tie) -> None:
        if tie.kind != "l2":
            return
        for site, text in tie.members.items():
            if ":" not in text and self.net(site, tie.project, tie.network) is None:
                self.nets.append(Net(site, tie.project, tie.network, tie.prefixes, tie.name))

    def _change(self, step: Step) -> None:
        tie = self.tie(step.name, step.project)
        if tie is None or step.site not in tie.members or not self.reach(step.site, tie.home, step.at):
            return
        members = {a.partition(":")[0]: a for a in step.attachments}
        if len(members) < 2 or tie.home not in members or members.keys() - set(self.sites):
            return
        for site in [s for s in tie.members if s not in members]:
            self._leave(tie, site)
        tie.members = members
        tie.closing = False
        self._make_nets(tie)

    def _leave(self, tie: Tie, site: str) -> None:
        for net in [n for n in self.nets if (n.site, n.made_for, n.project) == (site, tie.name, tie.project)]:
            if not net.hosts:
                self.nets.remove(net)

    def _delete(self, step: Step) -> None:
        tie = self.tie(step.name, step.project)
        if tie is None or not self.reach(step.site, tie.home, step.at):
            return
        if self.busy(tie) and not step.force:
            tie.closing = True
        else:
            self._end(tie)

    def _end(self, tie: Tie) -> None:
        for site in tie.members:
            self._leave(tie, site)
        self.ties.remove(tie)

    def _adopt(self, step: Step) -> None:
        tie = self.tie(step.name, step.project)
        if tie is not None and step.site in tie.members:
            tie.home = step.site

    def _enrol(self, step: Step) -> None:
        # Who was forgotten stays so: its incarnation was.
        if step.site not in self.sites:
            self.sites.append(step.site)

    def _forget(self, step: Step) -> None:
        self.forgot.add((step.site, step.other))

    def _map(self, step: Step) -> None:
        key = (step.site, step.other)
        if step.project == "demo":
            (self.unmapped.discard if step.amount else self.unmapped.add)(key)
        else:
            (self.maps.add if step.amount else self.maps.discard)((*key, step.project))

    def _cut(self, step: Step) -> None:
        until = step.at + step.seconds if step.seconds else float("inf")
        self.cuts[step.site, step.other] = until
        if step.amount:
            self.cuts[step.other, step.site] = until

    def _heal(self, step: Step) -> None:
        self.cuts.clear()

    def _crash(self, step: Step) -> None:
        self.down.setdefault(step.site, step.at)

    def _start(self, step: Step) -> None:
        self.down.pop(step.site, None)

    def _pause(self, step: Step) -> None:
        self.still[step.site] = step.at + step.seconds

    def _lose_store(self, step: Step) -> None:
        # Its own networks and hosts are known nowhere else: they stand as orphans that no user can name.
        self.down.setdefault(step.site, step.at)
        self.orphans += [n for n in self.nets if n.site == step.site and not n.made_for]
        self.nets = [n for n in self.nets if n.site != step.site or n.made_for]
        for net in self.nets:
            if net.site == step.site:
                net.hosts.clear()

    def _backup(self, step: Step) -> None:
        self.copies.add(step.site)

    def _restart(self, step: Step) -> None:
        self.down.clear()


def sound(prefixes: tuple[str, ...]) -> bool:
    """Whether a network can have these prefixes, as far as users reckon."""
    found = [ip_network(p) for p in prefixes]
    apart = not any(p.is_multicast or p.is_loopback or p.is_link_local for p in found)
    return bool(found) and apart and all(8 <= p.prefixlen <= p.max_prefixlen - 1 for p in found)


def overlap(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether any prefix of the one lies in or around one of the other."""
    mine, theirs = [ip_network(p) for p in some], [ip_network(p) for p in others]
    return any(a.version == b.version and a.overlaps(b) for a in mine for b in theirs)


_FOLLOW: dict[Verb, Callable[[Known, Step], None]] = {
    Verb.NETWORK: Known._network,
    Verb.DROP_NETWORK: Known._drop_network,
    Verb.HOST: Known._host,
    Verb.DROP_HOST: Known._drop_host,
    Verb.VPN: Known._vpn,
    Verb.CHANGE: Known._change,
    Verb.DELETE: Known._delete,
    Verb.ADOPT: Known._adopt,
    Verb.ENROL: Known._enrol,
    Verb.FORGET: Known._forget,
    Verb.MAP: Known._map,
    Verb.CUT: Known._cut,
    Verb.HEAL: Known._heal,
    Verb.CRASH: Known._crash,
    Verb.START: Known._start,
    Verb.RESTORE: Known._start,
    Verb.PAUSE: Known._pause,
    Verb.LOSE_STORE: Known._lose_store,
    Verb.BACKUP: Known._backup,
    Verb.MASS_RESTART: Known._restart,
}
