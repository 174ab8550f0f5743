"""What the program advises exists: every `intertie …` in a message of the sources is a command, with its options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from intertie.cli.app import tree

SOURCES = Path(__file__).parents[2] / "src" / "intertie"
ADVICE = re.compile(r"\bintertie ((?:[a-z]+)(?: (?:-{0,2}[A-Za-z0-9/_…-]+))*)")
ROOT = typer.main.get_command(tree([]))


def texts(path: Path) -> Iterator[str]:
    """The strings of a file, but for docstrings; what is filled in is X."""
    parsed = ast.parse(path.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(parsed)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    parts = {id(part) for node in ast.walk(parsed) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(parsed):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose | parts:
            yield node.value


def advice() -> set[str]:
    """All advised commands."""
    return {found for path in SOURCES.rglob("*.py") for text in texts(path) for found in ADVICE.findall(text)}


def understood(words: list[str]) -> bool:
    """Whether noun, verb and options are there; their values are not looked at."""
    command = getattr(ROOT, "commands", {}).get(words[0])
    if command is None or words[0] == "demo":
        return command is not None
    rest = words[1:]
    if verbs := getattr(command, "commands", {}):
        if not rest:
            return True
        # A message may list verbs: `site invite, join or approve`, `token create|list`.
        command, rest = verbs.get(rest[0]), rest[1:]
    if command is None:
        return False
    options = {option for parameter in command.params for option in parameter.opts}
    return all(word in options for word in rest if re.match(r"-+[a-z]", word))


def test_there_is_advice() -> None:
    assert len(advice()) > 15
    assert {"vpn list", "network list"} <= advice()


@pytest.mark.parametrize("words", sorted(advice()))
def test_advice_is_understood(words: str) -> None:
    assert understood(shlex.split(words)), f"intertie {words}: there is no such command"


def test_what_is_not_there_is_found() -> None:
    assert not understood(["network", "create", "x", "--prefix", "10.0.0.0/24"])
    assert not understood(["vpn", "repair", "x"])
    assert not understood(["pool", "list"])
    assert understood(["vpn", "delete", "x", "--force"])
