"""Writes docs/partitions.md from the table that the tests play out: `partitions.py [--check]`.

The table is tests/federation/partitions/table.py: operation × situation → what the user is told, what happens, and
the test that shows it. What stands in the page about answers and outcomes is what those tests compare with. With
--check nothing is written: exit 1 if the page is not what would be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from intertie.cli.problem import EXITS  # noqa: E402
from tests.federation.partitions import table  # noqa: E402
from tests.federation.partitions.cell import Cell, Ends  # noqa: E402
from tests.federation.partitions.operation import Operation, reads  # noqa: E402
from tests.federation.partitions.rules import INTRODUCTION, LEGEND, RULES  # noqa: E402
from tests.federation.partitions.situations import SITUATIONS, Situation  # noqa: E402

PAGE = ROOT / "docs" / "partitions.md"

OUTCOME = {
    Ends.LOOK: "",
    Ends.NOW: "It is done at once.",
    Ends.LATER: "",
    Ends.NEVER: "Nothing is made or changed, here or elsewhere.",
}
MARKS = {Ends.LOOK: "✓", Ends.NOW: "✓", Ends.LATER: "later"}


def page() -> str:
    """The whole of docs/partitions.md."""
    parts = [INTRODUCTION, *rules(), LEGEND, *overview()]
    for situation in SITUATIONS:
        parts += section(situation)
    return "\n".join(parts) + "\n"


def rules() -> Iterator[str]:
    for rule in RULES:
        shown = ", ".join(f"`{name.rpartition('/')[2]}`" for name in rule.tests)
        yield f"- {rule.words} ({shown})"
    yield ""


def overview() -> Iterator[str]:
    yield "| | " + " | ".join(f"[{s.title}](#{_anchor(s)})" for s in SITUATIONS) + " |"
    yield "|---" * (len(SITUATIONS) + 1) + "|"
    for group, operations in groupby(table.OPERATIONS, key=lambda o: o.group):
        yield f"| **{group}** |" + " |" * len(SITUATIONS)
        for operation in operations:
            marks = (mark(s, operation) for s in SITUATIONS)
            yield f"| {operation.words} | " + " | ".join(marks) + " |"
    yield ""


def mark(situation: Situation, operation: Operation) -> str:
    """One cell of the overview."""
    if not table.has_cell(situation, operation):
        return "–"
    cell = table.CELLS[situation.id][operation.id]
    if cell.told.code:
        return f"`{cell.told.code}`"
    return MARKS.get(cell.ends, "✗")


def section(situation: Situation) -> Iterator[str]:
    yield f"## {situation.title}"
    yield ""
    yield situation.words
    yield ""
    yield "| You ask for | You are told | What happens | Test |"
    yield "|---|---|---|---|"
    for operations, cell in rows(situation):
        asked = "<br>".join(o.words for o in operations)
        names = "<br>".join(dict.fromkeys(f"`{short(situation, o)}`" for o in operations))
        yield f"| {asked} | {answer(cell)} | {outcome(cell)} | {names} |"
    if as_usual := usual(situation):
        asked = "<br>".join(o.words for o in as_usual)
        names = "<br>".join(dict.fromkeys(f"`{short(situation, o)}`" for o in as_usual))
        yield f"| {asked} | as when all is well | as when all is well | {names} |"
    yield ""


def usual(situation: Situation) -> list[Operation]:
    """Operations that go in a situation as they go when all is well."""
    well = table.CELLS["all-well"]
    mine = table.CELLS[situation.id]
    return [
        o
        for o in table.OPERATIONS
        if table.has_cell(situation, o)
        and situation.id != "all-well"
        and (mine[o.id].told, mine[o.id].ends) == (well[o.id].told, well[o.id].ends)
        and mine[o.id].words in ("", well[o.id].words)
    ]


def rows(situation: Situation) -> list[tuple[list[Operation], Cell]]:
    """The situation's other cells; operations that end the same way share a row."""
    found: list[tuple[list[Operation], Cell]] = []
    left_out = usual(situation)
    for operation in table.OPERATIONS:
        if not table.has_cell(situation, operation) or operation in left_out:
            continue
        cell = table.CELLS[situation.id][operation.id]
        same = next((ops for ops, other in found if other == cell and ops[0].group == operation.group), None)
        if same is not None:
            same.append(operation)
        else:
            found.append(([operation], cell))
    return found


def short(situation: Situation, operation: Operation) -> str:
    """The test, without its file."""
    return table.test_id(situation, operation).rpartition("::")[2]


def answer(cell: Cell) -> str:
    told = cell.told
    if not told.code:
        return f"{told.status}" + (f": {told.says}" if told.says else "")
    hint = f"<br>*hint:* {told.hint}" if told.hint else ""
    return f"{told.status} `{told.code}` (exit {EXITS[told.code].value}): {told.says}{hint}"


def outcome(cell: Cell) -> str:
    words = [cell.words or OUTCOME[cell.ends]]
    if cell.again:
        words.append("Asked for again afterwards, it is done.")
    return " ".join(w for w in words if w)


def _anchor(situation: Situation) -> str:
    return situation.title.lower().replace(" ", "-")


def named_tests() -> Iterable[str]:
    """Every test that the page names, as pytest has it."""
    yield from (name for rule in RULES for name in rule.tests)
    yield from (table.test_id(s, o) for s, o, _ in table.cells())


def main(argv: list[str]) -> int:
    text = page()
    if "--check" in argv:
        return 0 if PAGE.exists() and PAGE.read_text() == text else 1
    PAGE.write_text(text)
    return 0


__all__ = ["PAGE", "named_tests", "page", "reads"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
