"""Writes down what happens in a story: always as one hash, on demand as events, of which lines and diagrams are made.

The hash covers more than the lines show: the bytes of every record and everything about every item. Two runs with the
same hash have done the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from intertie.model.bodies import AnswerBody, VpnBody
from intertie.model.items import Item, Segment, key
from intertie.model.records import Record
from intertie.testing.simulator.story import Step
from intertie.testing.simulator.watch import Told


class What(Enum):
    """Kinds of events."""

    WRITES = "writes"
    CLOUD = "cloud"
    PLANE = "plane"
    SENDS = "sends"
    ASKS = "asks"
    HEARS = "hears"
    FAULT = "fault"
    RESTS = "rests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened at the virtual second `at`. `to`: of a message, where it goes; of a fault, the other
    site."""

    at: float
    what: What
    site: str = ""
    to: str = ""
    text: str = ""
    about: tuple[str, ...] = ()
    """Ids and names that it bears on: Vpns above all."""

    def line(self) -> str:
        where = f"{self.site} > {self.to}" if self.to else self.site
        return f"{self.at:11.6f}  {self.what.value:6}  {where}  {self.text}".rstrip()


class Recorder:
    """A `Watcher`. Keeps events only if asked to: a hash is enough to compare two runs."""

    def __init__(self, keep: bool = False) -> None:
        self._hash = sha256()
        self._keep = keep
        self.events: list[Event] = []

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(e.line() for e in self.events)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def wrote(self, at: float, site: str, puts: Mapping[str, Record]) -> None:
        for record in puts.values():
            self._hash.update(f"{at!r} wrote {site} {record.id} {len(record.raw)} ".encode())
            self._hash.update(record.raw)
            self._hash.update(record.signature)
            if self._keep:
                text, about = _record(record)
                self._add(Event(at=at, what=What.WRITES, site=site, text=text, about=about))

    def changed(self, at: float, site: str, before: Item | None, after: Item | None) -> None:
        self._item(at, What.CLOUD, site, before, after)

    def forwarded(self, at: float, site: str, before: Segment | None, after: Segment | None) -> None:
        self._item(at, What.PLANE, site, before, after)

    def sent(self, at: float, site: str, to: str, what: str, fate: str) -> None:
        self._hash.update(f"{at!r} sent {site} {to} {what} {fate}\n".encode())
        if self._keep:
            text = what if fate == "goes" else f"{what} {fate}"
            self._add(Event(at=at, what=What.SENDS, site=site, to=to, text=text))

    def asked(self, at: float, step: Step) -> None:
        self._step(at, What.ASKS, step, words(step))

    def told(self, told: Told) -> None:
        said = f"{told.step.verb.value} {told.step.name}".rstrip() + f": {told.code}"
        if told.code != "ok" and told.detail:
            said += f" ({told.detail})"
        self._hash.update(f"{told.begun!r} {told.id} ".encode())
        self._step(told.at, What.HEARS, told.step, said, told.id)

    def struck(self, at: float, step: Step) -> None:
        self._step(at, What.FAULT, step, words(step))

    def rested(self, at: float) -> None:
        self._hash.update(f"{at!r} rests\n".encode())
        if self._keep:
            self._add(Event(at=at, what=What.RESTS, text="everything is healed and has had its time"))

    def _item(self, at: float, what: What, site: str, before: Item | None, after: Item | None) -> None:
        self._hash.update(f"{at!r} {what.value} {site} {before!r} {after!r}\n".encode())
        if self._keep:
            text, about = _change(before, after)
            self._add(Event(at=at, what=what, site=site, text=text, about=about))

    def _step(self, at: float, what: What, step: Step, text: str, *about: str) -> None:
        self._hash.update(f"{at!r} {what.value} {text} {step.text()}\n".encode())
        if self._keep:
            # A user asks one site; `other` is only spoken of. A fault between two sites has both.
            to = step.other if what is What.FAULT else ""
            names = tuple(n for n in (*about, step.name) if n)
            self._add(Event(at=at, what=what, site=step.site, to=to, text=text, about=names))

    def _add(self, event: Event) -> None:
        self.events.append(event)


def words(step: Step) -> str:
    """A step without its time and site."""
    said = step.text().split(maxsplit=1)[1].split(" ")
    return " ".join(w for w in said if w != f"site={step.site}")


def _record(record: Record) -> tuple[str, tuple[str, ...]]:
    """What a record is and says, in a few words; what it bears on."""
    header, body = record.header, record.body
    order = f"{header.order.epoch}.{header.order.incarnation}.{header.order.seq}"
    state = "" if header.state.value == "live" else f" {header.state.value}"
    about = tuple(n for n in (record.id, getattr(body, "vpn", ""), getattr(body, "name", "")) if n)
    said = ""
    if isinstance(body, AnswerBody):
        reason = f" {body.reason.code}" if body.reason else ""
        ports = f" {body.ports} ports" if body.ports else ""
        said = f" {body.word.value}{reason}{ports} on {body.order.epoch}.{body.order.incarnation}.{body.order.seq}"
    elif isinstance(body, VpnBody):
        said = f" {body.name} {body.kind.value} {','.join(header.names)}"
    return f"{header.kind.value} {record.id}@{order}{state}{said}", about


def _change(before: Item | None, after: Item | None) -> tuple[str, tuple[str, ...]]:
    sign = "comes" if before is None else "goes" if after is None else "changes"
    item = after if after is not None else before
    assert item is not None
    kind, id = key(item)
    if isinstance(item, Segment):
        remotes = ",".join(r.site for r in item.remotes) or "nobody"
        return f"{kind.value} {id} {sign}, to {remotes}", (id, item.vpn)
    return f"{kind.value} {item.name} {sign}", (id, item.name)
