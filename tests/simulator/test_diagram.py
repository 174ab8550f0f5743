"""Diagrams: what is drawn, what is left out, and that columns stay columns."""

from __future__ import annotations

from intertie.testing.simulator.diagram import Broken, Gap, as_mermaid, as_text, rows
from intertie.testing.simulator.recorder import Event, What
from intertie.testing.simulator.story import Story, Violation

STORY = Story(seed=1, profile="mixed", sites=("nantes", "lyon", "rennes"), steps=())
VPN = ("nantes.7ec4", "blue")


def quiet(at: float, a: str, b: str) -> Event:
    return Event(at=at, what=What.SENDS, site=a, to=b, text="request")


EVENTS = [
    Event(at=1.0, what=What.ASKS, site="nantes", text="vpn name=blue", about=("blue",)),
    Event(at=1.0, what=What.WRITES, site="nantes", text="vpn blue", about=VPN),
    quiet(1.0, "rennes", "lyon"),
    quiet(1.0, "nantes", "lyon"),
    Event(at=1.02, what=What.WRITES, site="lyon", text="vpn blue", about=VPN),
    Event(at=1.02, what=What.WRITES, site="lyon", text="vpn green", about=("nantes.0001", "green")),
    Event(at=1.02, what=What.WRITES, site="rennes", text="vpn blue", about=VPN),
    Event(at=1.03, what=What.SENDS, site="lyon", to="nantes", text="reply lost"),
    Event(at=1.03, what=What.SENDS, site="rennes", to="nantes", text="reply lost"),
    Event(at=2.0, what=What.FAULT, site="lyon", to="nantes", text="cut other=nantes"),
    *(quiet(3.0 + n, "nantes", "lyon") for n in range(50)),
    Event(at=60.0, what=What.PLANE, site="lyon", text="segment comes", about=VPN),
    Event(at=90.0, what=What.RESTS, text="all is quiet"),
]
BROKEN = Violation(invariant="I4", at=60.5, what="vpn blue stands at lyon, of nantes")


def test_only_what_bears_on_the_violation() -> None:
    drawn = rows(EVENTS, STORY, BROKEN)
    # Kept: the question, the write, the message that carried it, the write there, the lost reply, the fault, the
    # segment. Left out: other Vpns, other sites, messages after which nothing came, what came after the violation.
    assert [r.count if isinstance(r, Gap) else r for r in drawn] == [
        *EVENTS[0:2],
        *EVENTS[3:5],
        EVENTS[7],
        EVENTS[9],
        50,
        EVENTS[60],
        Broken(BROKEN),
    ]


def test_full_is_all_with_the_violation_at_its_time() -> None:
    drawn = rows(EVENTS, STORY, BROKEN, full=True)
    assert [r for r in drawn if isinstance(r, Event)] == EVENTS
    assert drawn.index(Broken(BROKEN)) == len(drawn) - 2


def test_without_a_violation_quiet_messages_are_left_out() -> None:
    drawn = rows(EVENTS, STORY, None)
    assert sum(r.count for r in drawn if isinstance(r, Gap)) == 50
    assert EVENTS[-1] in drawn


def test_a_violation_that_names_no_site_shows_all() -> None:
    drawn = rows(EVENTS, STORY, Violation(invariant="I8", at=100.0, what="copies differ"))
    assert EVENTS[6] in drawn
    assert EVENTS[8] in drawn


def test_text() -> None:
    lines = as_text(rows(EVENTS, STORY, BROKEN), STORY).splitlines()
    assert lines[0].split() == ["users", "nantes", "lyon"]
    nantes, lyon = lines[0].index("nantes"), lines[0].index("lyon")
    assert lines[1].startswith("      1.000   ├─ vpn name=blue ─▶ nantes")
    assert lines[2][nantes:].startswith("● vpn blue")
    carried = lines[3]
    assert (carried[nantes], carried[lyon - 1], carried[lyon]) == ("│", "▶", "│")
    assert " request " in carried
    lost = lines[5]
    assert lost[nantes + 1] == "✗"
    assert " reply lost " in lost
    assert lines[-1] == "     60.500  ✗✗ I4: vpn blue stands at lyon, of nantes"
    # Everything that is not an arrow or a text leaves the lifelines alone.
    assert all(line[lyon] == "│" for line in (lines[1], lines[2], lines[7]))
    assert lines[7].startswith("   ⋮ 50 more")


def test_mermaid() -> None:
    text = as_mermaid(rows(EVENTS, STORY, BROKEN), STORY)
    assert text.splitlines()[:4] == [
        "sequenceDiagram",
        "    participant P0 as users",
        "    participant P1 as nantes",
        "    participant P2 as lyon",
    ]
    assert "    P1->>P2: 1.000 s request" in text
    assert "    P2-xP1: 1.030 s reply lost" in text
    assert "    Note over P2: 2.000 s ⚡ cut other=nantes" in text
    assert text.splitlines()[-1].startswith("    Note over P0,P2: 60.500 s ✗ I4")


def test_mermaid_gets_none_of_its_own_signs() -> None:
    event = Event(at=1.0, what=What.FAULT, site="lyon", text="a;b#c\nd")
    assert as_mermaid([event], STORY).splitlines()[-1] == "    Note over P1: 1.000 s ⚡ a,b＃c d"


def test_ids_are_short_and_columns_stay() -> None:
    id = "nantes.7ec4" + 28 * "0"
    event = Event(at=1.0, what=What.WRITES, site="nantes", text=f"vpn {id}")
    broken = Violation(invariant="I4", at=2.0, what=f"{id} and {40 * '0'}")
    lines = as_text([event, quiet(1.5, "nantes", "lyon"), Broken(broken)], STORY).splitlines()
    assert "● vpn nantes.7ec4 " in lines[1]
    assert lines[1].rindex("│") == lines[0].index("lyon")
    assert lines[3].endswith(f"nantes.7ec4 and {40 * '0'}")
