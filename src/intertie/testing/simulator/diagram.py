"""What happened, as a sequence diagram: columns are the users and the sites, time runs downwards.

As plain text, or as Mermaid. Without `full` only what bears on the violation is drawn: the sites and Vpns that it
speaks of, the messages that brought something about, and a count of what was left out between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from intertie.testing.simulator.recorder import Event, What
from intertie.testing.simulator.story import Story, Violation

MARKS = {What.WRITES: "●", What.CLOUD: "☁", What.PLANE: "⇄", What.FAULT: "⚡"}
USERS = "users"
CARRIED = 0.5
"""Seconds within which a message that went well is taken for the cause of what its receiver then does."""
WORTH = 10
"""So many events left out in a row are worth a line."""
MARGIN = 14
COLUMN = 26
ID = re.compile(r"\b([0-9a-f]{4})[0-9a-f]{22,28}\b")
"""What is random, or a digest, in an id: four digits tell them apart."""


@dataclass(frozen=True, slots=True)
class Gap:
    """So many events were left out."""

    count: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the violation shows."""

    violation: Violation


Row = Event | Gap | Broken


def rows(events: Sequence[Event], story: Story, violation: Violation | None, full: bool = False) -> list[Row]:
    """What is to be drawn, in order; the violation stands behind the last event before it."""
    end = len(events) if violation is None else sum(e.at <= violation.at for e in events)
    shown = [*events[:end]] if not full else [*events]
    told = _bears(shown, story, violation, full)
    drawn: list[Row] = []
    for kept, group in groupby(enumerate(shown), key=lambda pair: told(*pair)):
        found = [event for _, event in group]
        if kept:
            drawn.extend(found)
        elif len(found) >= WORTH:
            drawn.append(Gap(len(found)))
    if violation is not None:
        at = next((i for i, r in enumerate(drawn) if isinstance(r, Event) and r.at > violation.at), len(drawn))
        drawn.insert(at, Broken(violation))
    return drawn


def _bears(
    events: Sequence[Event], story: Story, violation: Violation | None, full: bool
) -> Callable[[int, Event], bool]:
    """Whether the event at a place is to be drawn."""
    if full or violation is None:
        return (lambda _, e: True) if full else (lambda _, e: e.what is not What.SENDS or e.text not in _QUIET)
    sites = concerned_sites(events, story, violation)
    vpns = _concerned_names(events, violation)

    def matters(event: Event) -> bool:
        if event.what in (What.FAULT, What.ASKS, What.HEARS, What.RESTS):
            return True
        return event.site in sites and (not vpns or bool(vpns & set(event.about)))

    carriers = _carriers(events, matters)

    def told(place: int, event: Event) -> bool:
        if event.what is not What.SENDS:
            return matters(event)
        if event.text in _QUIET:
            return place in carriers
        return event.site in sites and event.to in sites

    return told


_QUIET = ("request", "reply")
"""Messages that nothing happened to."""


def concerned_sites(events: Sequence[Event], story: Story, violation: Violation) -> frozenset[str]:
    """The sites that the violation names, as a word or as the home in an id; all, if it names fewer than two."""
    known = {*story.sites, *(e.site for e in events if e.site)}
    named = frozenset(known & set(_words(violation.what)))
    return named if len(named) > 1 else frozenset(known)


def _concerned_names(events: Sequence[Event], violation: Violation) -> frozenset[str]:
    """Ids and names of what the violation speaks of, and every other name of the same things."""
    spoken = _words(violation.what)
    names: set[str] = set()
    for event in events:
        if event.what in (What.WRITES, What.PLANE, What.HEARS) and any(n in spoken for n in event.about):
            names.update(event.about)
    return frozenset(names)


def _words(text: str) -> frozenset[str]:
    """Words of a sentence, and of each word that looks like an id its home and its end."""
    plain = "".join(c if c.isalnum() or c in "-._" else " " for c in text)
    found = {w.strip(".") for w in plain.split()}
    return frozenset(found | {w.partition(".")[0] for w in found if "." in w})


def _carriers(events: Sequence[Event], matters: Callable[[Event], bool]) -> frozenset[int]:
    """Places of the messages right before something that matters at their receiver."""
    found: set[int] = set()
    last: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        if event.what is What.SENDS:
            last.setdefault(event.to, []).append(place)
        elif event.what is What.WRITES and matters(event):
            waiting = last.pop(event.site, [])
            found.update(p for p in waiting[-1:] if event.at - events[p].at <= CARRIED)
    return frozenset(found)


# ── Plain text ─────────────────────────────────────────────────────────────────────────────────────────────────


def as_text(drawn: Sequence[Row], story: Story) -> str:
    """Lines of the diagram."""
    columns = _columns(drawn, story)
    places = {name: MARGIN + i * COLUMN for i, name in enumerate(columns)}
    head = " " * MARGIN + "".join(name[: COLUMN - 1].ljust(COLUMN) for name in columns)
    return "\n".join(line.rstrip() for line in (head, *(_line(row, places) for row in drawn)))


def _columns(drawn: Sequence[Row], story: Story) -> list[str]:
    seen = {n for r in drawn if isinstance(r, Event) for n in (r.site, r.to) if n}
    late = sorted(seen - set(story.sites))
    return [USERS, *(s for s in story.sites if s in seen), *late]


def _line(row: Row, places: dict[str, int]) -> str:
    match row:
        case Gap(count):
            return _over("", places, 3, f"⋮ {count} more")
        case Broken(violation):
            return f"{violation.at:11.3f}  ✗✗ {violation.invariant}: {_short(violation.what)}"
        case Event():
            return _event(row, places)


def _event(event: Event, places: dict[str, int]) -> str:
    begin, text = f"{event.at:11.3f}", _short(event.text)
    here = places.get(event.site, MARGIN)
    match event.what:
        case What.SENDS:
            return _arrow(begin, places, here, places[event.to], text, event.text not in _LOST)
        case What.ASKS:
            return _over(begin, places, places[USERS], f"├─ {text} ─▶ {event.site}")
        case What.HEARS:
            return _over(begin, places, places[USERS], f"◀─ {event.site}: {text}")
        case What.RESTS:
            return _over(begin, places, places[USERS], f"═══ {text} ═══")
        case _:
            return _over(begin, places, here, f"{MARKS[event.what]} {text}")


_LOST = tuple(f"{what} {fate}" for what in _QUIET for fate in ("lost", "cut", "reset"))


def _short(text: str) -> str:
    return ID.sub(r"\1", text)


def _lifelines(begin: str, places: dict[str, int]) -> list[str]:
    width = max(places.values(), default=MARGIN) + 1
    line = list(begin.ljust(width))
    for place in places.values():
        line[place] = "│"
    return line


def _over(begin: str, places: dict[str, int], start: int, text: str) -> str:
    """Text from a place on, over the lifelines."""
    line = _lifelines(begin, places)
    line.extend(" " * (start + len(text) - len(line)))
    line[start : start + len(text)] = text
    return "".join(line)


def _arrow(begin: str, places: dict[str, int], a: int, b: int, text: str, arrives: bool) -> str:
    """From one lifeline to another; a message that does not arrive ends in a cross before it."""
    line = _lifelines(begin, places)
    left, right = min(a, b) + 1, max(a, b)
    body = list("─" * (right - left))
    label = f" {text} "[: max(len(body) - 2, 0)]
    middle = (COLUMN - 1 - len(label)) // 2 if b > a else len(body) - (COLUMN - 1 + len(label)) // 2
    body[middle : middle + len(label)] = label
    tip = ("▶" if b > a else "◀") if arrives else "✗"
    body[-1 if b > a else 0] = tip
    line[left:right] = body
    return "".join(line)


# ── Mermaid ────────────────────────────────────────────────────────────────────────────────────────────────────


def as_mermaid(drawn: Sequence[Row], story: Story) -> str:
    """A Mermaid `sequenceDiagram`."""
    columns = _columns(drawn, story)
    names = {name: f"P{i}" for i, name in enumerate(columns)}
    head = ["sequenceDiagram", *(f"    participant {names[n]} as {n}" for n in columns)]
    return "\n".join([*head, *(f"    {line}" for row in drawn for line in _mermaid(row, names))])


def _mermaid(row: Row, names: dict[str, str]) -> Iterator[str]:
    everybody = ",".join(dict.fromkeys((names[USERS], *list(names.values())[-1:])))
    match row:
        case Gap(count):
            yield f"Note over {everybody}: … {count} more"
        case Broken(violation):
            said = f"{violation.invariant}: {violation.what}"
            yield f"Note over {everybody}: {violation.at:.3f} s ✗ {_plain(said)}"
        case Event(what=What.SENDS):
            tip = "-x" if row.text in _LOST else "->>"
            yield f"{names[row.site]}{tip}{names[row.to]}: {row.at:.3f} s {_plain(row.text)}"
        case Event(what=What.ASKS):
            yield f"{names[USERS]}->>{names[row.site]}: {row.at:.3f} s {_plain(row.text)}"
        case Event(what=What.HEARS):
            yield f"{names[row.site]}-->>{names[USERS]}: {row.at:.3f} s {_plain(row.text)}"
        case Event() if row.site in names:
            mark = MARKS.get(row.what, "")
            yield f"Note over {names[row.site]}: {row.at:.3f} s {mark} {_plain(row.text)}"
        case Event():
            yield f"Note over {everybody}: {row.at:.3f} s {_plain(row.text)}"


def _plain(text: str) -> str:
    """Mermaid takes # and ; for its own."""
    return _short(text).replace("#", "＃").replace(";", ",").replace("\n", " ")
