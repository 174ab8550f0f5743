"""A document as a session: its console blocks, each tried on the hosts that it names, in their order.

    ```console host=nantes,lyon          on both at once
    # a command, as root                 `$ ` as an ordinary user; `> ` goes on with the line before
    what it says                         … stands for anything in a line; a line of it alone, for any lines
    ```

`<word>` in what is said stands for a word that is kept, and in a command for what was kept. `until` after the hosts:
the last command is asked again until it says so; `exit=N`: the last command ends with N. Blocks that name no host
are not tried here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```console host=(?P<hosts>[a-z,]+)(?P<until> until)?(?: exit=(?P<exit>\d+))?$")
_FLOW = re.compile(r"^<!-- test: packets flow from (?P<source>[a-z-]+) to <(?P<target>[a-z]+)> from here … -->$")
_DRY = "<!-- test: … to here -->"
_PLACEHOLDER = re.compile(r"<([a-z][a-z_]*)>")


@dataclass(slots=True)
class Command:
    text: str
    said: list[str] = field(default_factory=list)

    def filled(self, kept: dict[str, str]) -> str:
        """The command with words that were kept; those of a shell (`<file`) are left alone."""
        return _PLACEHOLDER.sub(lambda found: kept.get(found[1], found[0]), self.text)

    def matches(self, said: str) -> dict[str, str] | None:
        """The words to keep, or None if something else was said. A command shown with no output may say anything."""
        if not self.said:
            return {}
        pattern = "".join(_line(line) for line in self.said)
        found = re.fullmatch(pattern, "".join(f"{' '.join(line.split())}\n" for line in said.splitlines()))
        return found.groupdict() if found else None


def _line(line: str) -> str:
    line = " ".join(line.split())
    if line == "…":
        return r"(?:.*\n)*"
    pattern = re.escape(line).replace("…", ".*")
    return re.sub(r"<([a-z][a-z_]*)>", r"(?P<\1>\\S+)", pattern) + r"\n"


@dataclass(frozen=True, slots=True)
class Block:
    line: int
    hosts: tuple[str, ...]
    commands: tuple[Command, ...]
    until: bool = False
    exit: int = 0


def blocks(path: Path) -> list[Block]:
    """The blocks of a document that name a host. ValueError for one that does not begin with a command."""
    found: list[Block] = []
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None and line.startswith("```console host="):
            raise ValueError(f"{path.name}:{number}: {line}")
        if fence is not None:
            commands = _commands(lines)
            hosts = tuple(fence["hosts"].split(","))
            found.append(Block(number, hosts, commands, bool(fence["until"]), int(fence["exit"] or 0)))
    return found


@dataclass(frozen=True, slots=True)
class Flow:
    """Between these lines of a document packets flow from a host's host to the address that was kept as `target`,
    and none is lost."""

    source: str
    target: str
    first: int
    last: int


def flow(path: Path) -> Flow:
    lines = path.read_text().splitlines()
    first, found = next((n, found) for n, line in enumerate(lines, 1) if (found := _FLOW.match(line)))
    return Flow(found["source"], found["target"], first, lines.index(_DRY) + 1)


def _commands(lines: object) -> tuple[Command, ...]:
    commands: list[Command] = []
    for number, line in lines:  # type: ignore[attr-defined]
        if line == "```":
            break
        if line.startswith(("# ", "$ ")):
            commands.append(Command(line[2:]))
        elif not commands:
            raise ValueError(f"line {number}: a block begins with a command")
        elif line.startswith("> ") or line == ">":
            commands[-1].text += "\n" + line[2:]
        else:
            commands[-1].said.append(line)
    return tuple(commands)
