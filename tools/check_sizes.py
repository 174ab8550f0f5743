"""Small pieces, checked: a file of at most 400 lines, a function of at most 40 (its docstring not counted).

Parameters and branches are ruff's to count. Prints each offender as `path:line what`; exit 1 when there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 40


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring and without decorators."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is None:
        return whole
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1)


def offences(path: Path, source: str) -> Iterator[str]:
    if (lines := source.count("\n")) > FILE_LINES:
        yield f"{path}:1 file of {lines} lines, at most {FILE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (n := body_lines(node)) > FUNCTION_LINES:
            yield f"{path}:{node.lineno} {node.name} of {n} lines, at most {FUNCTION_LINES}"


def main(folders: list[str]) -> int:
    found = [
        offence
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for offence in offences(path, path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
