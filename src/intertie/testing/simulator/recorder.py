"""Writes down what happens in a story, as lines and as one hash of them all."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from intertie.model.items import Item, Segment, key
from intertie.model.records import Record
from intertie.testing.simulator.story import Step
from intertie.testing.simulator.watch import Told


class Recorder:
    """A `Watcher`. Keeps lines only if asked to: a hash is enough to compare two runs."""

    def __init__(self, keep: bool = False) -> None:
        self._hash = sha256()
        self._keep = keep
        self._lines: list[str] = []

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _note(self, at: float, text: str) -> None:
        line = f"{at:.6f} {text}"
        self._hash.update(line.encode())
        if self._keep:
            self._lines.append(line)

    def wrote(self, at: float, site: str, puts: Mapping[str, Record]) -> None:
        self._note(at, f"{site} wrote {' '.join(map(_version, puts.values()))}")

    def changed(self, at: float, site: str, before: Item | None, after: Item | None) -> None:
        self._note(at, f"{site} cloud {_change(before, after)}")

    def forwarded(self, at: float, site: str, before: Segment | None, after: Segment | None) -> None:
        self._note(at, f"{site} plane {_change(before, after)}")

    def sent(self, at: float, site: str, to: str, what: str, fate: str) -> None:
        self._note(at, f"{site} > {to} {what} {fate}")

    def asked(self, at: float, step: Step) -> None:
        self._note(at, f"ask {step.text()}")

    def told(self, told: Told) -> None:
        self._note(told.at, f"told {told.code} {told.detail} : {told.step.text()}")

    def struck(self, at: float, step: Step) -> None:
        self._note(at, f"struck {step.text()}")

    def rested(self, at: float) -> None:
        self._note(at, "rested")


def _version(record: Record) -> str:
    order = record.order
    return f"{record.id}@{order.epoch}.{order.incarnation}.{order.seq}:{record.header.state.value}"


def _change(before: Item | None, after: Item | None) -> str:
    sign = "+" if before is None else "-" if after is None else "~"
    item = after or before
    assert item is not None
    return f"{sign} {' '.join(map(str, key(item)))}"
