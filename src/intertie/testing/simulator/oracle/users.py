"""What users heard against what there is (I3, I4, I15), whether they heard anything at all, and how many messages it
took (I18).

Names are unique among what lives in a project of a site, so a deletion by name meant the one that lived.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from intertie.model.bodies import MappingBody, VpnBody
from intertie.model.items import Host, Network
from intertie.model.records import Order
from intertie.testing.simulator.oracle.scene import Scene
from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.watch import Told

MAKES = {Verb.NETWORK: "network", Verb.HOST: "host"}
DROPS = {Verb.DROP_NETWORK: "network", Verb.DROP_HOST: "host"}
LOCAL = frozenset({*MAKES, *DROPS})
"""What a site does alone, also while nobody can be reached (I15)."""
LONGEST = 60.0
"""Seconds that any use case waits for others, at most (docs/decisions/0001)."""
SLACK = 60.0
"""Seconds beyond its wait after which an operation should have told something: two call timeouts, rounds, drivers."""
BURST = 60
"""Requests a minute between two sites that need no reason: beats, back-off, and health that flaps."""
PER_CHANGE = 4
"""Requests that one record, one user's wish or one fault may cause between two sites: push, its echo, and retries."""

Name = tuple[str, str, str, str]
"""(network or host, site, project, name)."""


@dataclass(slots=True)
class Thing:
    """A network or host as users know it."""

    id: str
    told: float
    addresses: tuple[object, ...] = ()


@dataclass(slots=True)
class Books:
    """What users asked and heard."""

    scene: Scene
    open: dict[int, tuple[float, Step]] = field(default_factory=dict)
    """Operations without an answer yet."""
    lives: dict[Name, Thing] = field(default_factory=dict)
    dead: dict[str, tuple[float, Name]] = field(default_factory=dict)
    """Id → when its deletion was told."""
    maybe: set[Name] = field(default_factory=set)
    """Names of which nobody can say whether something has them: an answer never came, or a disk was lost."""
    failed: dict[Name, float] = field(default_factory=dict)
    """Names that somebody could not take, and when that was told."""
    vpns: dict[str, Order] = field(default_factory=dict)
    """Vpn → the highest version that a user was shown."""
    gone: dict[str, float] = field(default_factory=dict)
    """Vpns of which a user heard that they are gone."""
    refused: list[Told] = field(default_factory=list)
    """Vpns that could not be made."""
    mappings: dict[tuple[str, str, str], tuple[bool, float]] = field(default_factory=dict)
    """(site, peer, project) → whether it was last told to be mapped, and when."""
    forgotten: dict[tuple[str, str], float] = field(default_factory=dict)
    """(site, peer) → when the user heard that it is forgotten."""
    hindered: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Site → from when to when its agent, cloud or disk was slowed: what takes longer then is no fault of it."""
    messages: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """(from, to, minute) → requests."""
    strays: dict[tuple[str, str], float] = field(default_factory=dict)
    """(from, to) → when a forgotten peer was called."""
    reasons: dict[int, int] = field(default_factory=dict)
    """Minute → records, wishes and faults."""
    projects: set[str] = field(default_factory=lambda: {"demo"})

    # ── Asked and told ─────────────────────────────────────────────────────────────────────────────────────

    def asked(self, at: float, step: Step) -> None:
        self.open[id(step)] = (at, step)
        self.projects.add(step.project)
        self.moved(at)
        if step.verb is Verb.ENROL:
            # Those who enrol map each other's projects: what was told of mappings before is over.
            pair = {step.site, step.other}
            self.mappings = {p: v for p, v in self.mappings.items() if {p[0], p[1]} != pair}

    def told(self, told: Told) -> None:
        step = told.step
        begun = self.open.pop(id(step), (told.begun, step))[0]
        if told.code == "nothing":
            return
        self._in_time(begun, told)
        if step.verb in LOCAL and told.code == "owner-silent":
            words = f"{step.site} asked another site for {step.verb.value} {step.name}: {told.detail}"
            self.scene.broken("I15", told.at, words)
        if step.verb in MAKES:
            self._made(told)
        elif step.verb in DROPS:
            self._dropped(told)
        elif step.verb is Verb.VPN and told.code not in ("ok", "no-reply"):
            self.refused.append(told)
        elif step.verb is Verb.MAP:
            self._mapped(told)
        elif step.verb is Verb.FORGET and told.code == "ok":
            self.forgotten[step.site, step.other] = told.at
        elif step.verb is Verb.ENROL:
            for pair in ((step.site, step.other), (step.other, step.site)):
                self.forgotten.pop(pair, None)
        if told.code == "ok":
            self._shown(told)

    def _in_time(self, begun: float, told: Told) -> None:
        """Whoever asks hears something within what it said it would wait (signs of life)."""
        step = told.step
        slowed = sum(max(0.0, min(told.at, b) - max(begun, a)) for a, b in self.hindered.get(step.site, ()))
        limit = SLACK + (min(step.seconds, LONGEST) if step.verb not in LOCAL else 0.0)
        took = told.at - begun - 2 * slowed
        # Whose agent died hears nothing, sooner. Enrolling is several operations.
        if step.verb is not Verb.ENROL and took >= limit:
            words = f"{step.verb.value} {step.name} at {step.site} took {told.at - begun:.0f} s: {told.code}"
            self.scene.broken("I15" if step.verb in LOCAL else "life", told.at, words)

    def _made(self, told: Told) -> None:
        name = _name(MAKES[told.step.verb], told.step)
        if told.code == "ok":
            found = tuple(getattr(told.answer, "addresses", ()))
            self.lives[name] = Thing(id=told.id or getattr(told.answer, "id", ""), told=told.at, addresses=found)
            self.maybe.discard(name)
        elif told.code == "no-reply":
            self.maybe.add(name)
        else:
            self.failed[name] = told.at

    def _dropped(self, told: Told) -> None:
        name = _name(DROPS[told.step.verb], told.step)
        if told.code == "ok" and name in self.lives:
            self.dead[self.lives.pop(name).id] = (told.at, name)
        elif told.code in ("no-reply", "storage"):
            # It may have been done; a disk that is full may have had room for the first half.
            self.maybe.add(name)

    def _mapped(self, told: Told) -> None:
        place = (told.step.site, told.step.other, told.step.project)
        if told.code == "ok":
            self.mappings[place] = (bool(told.step.amount), told.at)
        else:
            self.mappings.pop(place, None)

    def _shown(self, told: Told) -> None:
        """The version that a user was shown is one that the site stands by (I3)."""
        if told.step.verb is Verb.DELETE and told.answer is None and told.id:
            self.gone[told.id] = told.at
        view = getattr(told.answer, "vpn", told.answer)
        if not hasattr(view, "epoch") or not hasattr(view, "version"):
            return
        incarnation, seq = view.version
        # Who adopted it is its home since (rule 14).
        adopter = view.owner if view.epoch else ""
        shown = Order(view.epoch, adopter, incarnation, seq)
        self.vpns[view.id] = max(shown, self.vpns.get(view.id, shown))

    # ── What slows, and what is lost ───────────────────────────────────────────────────────────────────────

    def struck(self, at: float, step: Step) -> None:
        self.moved(at)
        if step.verb is Verb.PAUSE:
            self.hindered.setdefault(step.site, []).append((at, at + step.seconds))
        elif step.verb is Verb.CLOUD_SLOW:
            # Every driver call takes this long, and a round makes many.
            self.hindered.setdefault(step.site, []).append((at, at + step.seconds + 30 * step.amount))
        elif step.verb in (Verb.LOSE_STORE, Verb.RESTORE):
            self._rolled(
                at, step.site, -inf if step.verb is Verb.LOSE_STORE else self.scene.copied.get(step.site, -inf)
            )

    def _rolled(self, at: float, site: str, kept: float) -> None:
        """What was told after `kept` may be gone with the disk, or undone."""
        for name, thing in list(self.lives.items()):
            if name[1] == site and thing.told > kept:
                del self.lives[name]
                self.maybe.add(name)
        for id, (told, name) in list(self.dead.items()):
            if name[1] == site and told > kept:
                del self.dead[id]
                self.maybe.add(name)
        self.mappings = {p: v for p, v in self.mappings.items() if p[0] != site or v[1] <= kept}
        self.forgotten = {p: t for p, t in self.forgotten.items() if p[0] != site or t <= kept}

    # ── Messages ───────────────────────────────────────────────────────────────────────────────────────────

    def moved(self, at: float) -> None:
        """Something happened that sites tell each other of."""
        minute = int(at // 60)
        self.reasons[minute] = self.reasons.get(minute, 0) + 1

    def sent(self, at: float, site: str, to: str, what: str) -> None:
        if what != "request":
            return
        place = (site, to, int(at // 60))
        self.messages[place] = self.messages.get(place, 0) + 1
        forgotten = self.forgotten.get((site, to))
        if forgotten is not None and at > forgotten + 5.0:
            self.strays.setdefault((site, to), at)

    # ── At rest ────────────────────────────────────────────────────────────────────────────────────────────

    def rested(self, at: float) -> None:
        for begun, step in self.open.values():
            self.scene.broken("life", at, f"asked at {begun:.1f} and never answered: {step.text().strip()}")
        self._storms(at)
        for (site, to), when in sorted(self.strays.items()):
            # Rule 17: its connections are cut within 5 s. Who lies, or whose key is stolen, is not asked.
            if not self.scene.doubtful(site):
                self.scene.broken("I16", when, f"{site} still calls {to}, which it has forgotten")
        self._kept(at)
        self._never_made(at)
        self._vpns_kept(at)
        self._trust_kept(at)

    def _storms(self, at: float) -> None:
        for (site, to, minute), count in sorted(self.messages.items()):
            reasons = sum(self.reasons.get(m, 0) for m in (minute - 1, minute))
            if count > BURST + PER_CHANGE * reasons and not {site, to} & (self.scene.clones | self.scene.liars):
                words = f"{site} called {to} {count} times in minute {minute}, in which {reasons} things happened"
                self.scene.broken("I18", at, words)

    def _there(self, site: str, kind: str) -> dict[str, Host | Network]:
        sort = Host if kind == "host" else Network
        return {i.id: i for i in self.scene.clouds.get(site, {}).values() if isinstance(i, sort)}

    def _kept(self, at: float) -> None:
        """I3: what was told to be made is there, with what was told of it; I6: what was told to be gone is not."""
        for name, thing in sorted(self.lives.items()):
            kind, site, _, called = name
            if name in self.maybe or self.scene.doubtful(site):
                continue
            found = self._there(site, kind).get(thing.id)
            if found is None:
                self.scene.broken(
                    "I3", at, f"{kind} {called} at {site}, told at {thing.told:.1f}, is not on its cloud"
                )
            elif isinstance(found, Host) and {i.ip for i in found.interfaces} != set(thing.addresses):
                words = ", ".join(str(a) for a in thing.addresses)
                self.scene.broken(
                    "I1", at, f"host {called} at {site} has other addresses than its user was told: {words}"
                )
        for id, (told, name) in sorted(self.dead.items()):
            if id in self._there(name[1], name[0]) and not self.scene.doubtful(name[1]):
                words = f"{name[0]} {name[3]} at {name[1]}, told to be gone at {told:.1f}, is on its cloud"
                self.scene.broken("I6", at, words)

    def _never_made(self, at: float) -> None:
        """I4: after an error nothing is there of it."""
        for name, told in sorted(self.failed.items()):
            kind, site, project, called = name
            if name in self.lives or name in self.maybe or self.scene.doubtful(site) or site in self.scene.rolled:
                continue
            for id, item in self._there(site, kind).items():
                if (item.name, item.project) == (called, project) and id not in self.scene.made:
                    words = f"{kind} {called} at {site}, refused at {told:.1f}, is on its cloud"
                    self.scene.broken("I4", at, words)
        for told_ in self.refused:
            self._no_vpn(at, told_)

    def _no_vpn(self, at: float, told: Told) -> None:
        step = told.step
        for id in sorted(self.scene.names.get(step.name, ())):
            born, body = self.scene.born[id]
            if not (id.startswith(f"{step.site}.") and told.begun <= born <= told.at) or id in self.vpns:
                continue
            if body.name != step.name or self._other_wish(told, born):
                continue
            record = self.scene.top.get(id)
            if record is not None and record.live:
                words = f"Vpn {step.name} ({id}) stands, but its user heard {told.code} at {told.at:.1f}"
                self.scene.broken("I4", at, words)

    def _other_wish(self, told: Told, born: float) -> bool:
        """Whether another request for the same name was under way when the Vpn was made."""
        others = [o for o in self.refused if o is not told and o.step.name == told.step.name]
        return any(o.begun <= born <= o.at for o in others)

    def _vpns_kept(self, at: float) -> None:
        """I3: no version that a user was shown is lost, but with the last disk that held it."""
        scene = self.scene
        for id, shown in sorted(self.vpns.items()):
            floor = scene.floors.get(id, shown)
            record = scene.top.get(id)
            if scene.doubtful(id.partition(".")[0]) or (record is not None and scene.doubtful(record.home)):
                continue
            if record is None and floor is not None:
                scene.broken("I3", at, f"Vpn {id} was shown to a user, and no disk has it")
            elif record is not None and floor is not None and record.order < min(shown, floor):
                words = f"Vpn {id}: a user was shown version {shown.incarnation}.{shown.seq}"
                scene.broken("I3", at, f"{words}, the highest is {record.order.incarnation}.{record.order.seq}")
        for id, when in sorted(self.gone.items()):
            record = scene.top.get(id)
            if record is not None and record.live and record.order.epoch == 0 and id not in scene.floors:
                assert isinstance(record.body, VpnBody)
                scene.broken("I6", at, f"Vpn {record.body.name} ({id}), told to be gone at {when:.1f}, stands")

    def _trust_kept(self, at: float) -> None:
        """I3, of what an operator said about peers."""
        for (site, peer), when in sorted(self.forgotten.items()):
            if self.scene.trusts(site, peer) and not self.scene.doubtful(site):
                self.scene.broken("I3", at, f"{site} trusts {peer}, which it was told to forget at {when:.1f}")
        for (site, peer, project), (wanted, when) in sorted(self.mappings.items()):
            record = self.scene.disks.get(site, {}).get(f"{site}.mapping.{peer}.{project}")
            stands = record is not None and record.live and isinstance(record.body, MappingBody)
            if stands is not wanted and not self.scene.doubtful(site):
                words = "is not" if wanted else "is still"
                self.scene.broken(
                    "I3", at, f"project {project} of {peer} {words} mapped at {site}, as told at {when:.1f}"
                )


def _name(kind: str, step: Step) -> Name:
    return (kind, step.site, step.project, step.name)
