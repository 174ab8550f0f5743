"""What a command says: results on stdout, progress and notes on stderr; colours only where somebody looks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from intertie.cli.table import STYLES, Table, plain, show

if TYPE_CHECKING:
    from rich.console import Console


MARKS = {"+": "green", "-": "red", "~": "yellow", "?": "yellow", "!": "yellow"}


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


class Progress:
    """Tells how far a wait has come. A spinner on a terminal; elsewhere a line whenever the words change."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._began = time.monotonic()
        self._last = ""

    def say(self, words: str) -> None:
        if words == self._last:
            return
        self._last = words
        self._screen.progress(words, time.monotonic() - self._began)


class Screen:
    """stdout and stderr of one command, in the form that -o asks for."""

    def __init__(self, output: Output = Output.TABLE) -> None:
        self.output = output
        self._console: Console | None = None
        self._spinner: _Spinner | None = None

    @property
    def is_json(self) -> bool:
        return self.output is Output.JSON

    # ── stdout ─────────────────────────────────────────────────────────────────────────────────────────────

    def document(self, told: object) -> None:
        """One JSON document: the body of an answer, whole, as it was sent."""
        print(json.dumps(told, indent=2, ensure_ascii=False))

    def line(self, text: str = "") -> None:
        print(text)

    def styled(self, text: str, word: str) -> None:
        """A line that ends with a word of state, which is coloured on a terminal."""
        if not sys.stdout.isatty():
            print(text + word)
            return
        from rich.text import Text

        self._rich().print(Text(text, style="bold").append(word, style=STYLES.get(word, "")))

    def mark(self, line: str) -> None:
        """A line of a plan, coloured by its first character on a terminal."""
        if not sys.stdout.isatty():
            print(line)
            return
        from rich.text import Text

        self._rich().print(Text(line, style=MARKS.get(line[:1], "")), soft_wrap=True)

    def table(self, table: Table) -> None:
        if not table.rows:
            if table.empty:
                self.note(table.empty)
        elif sys.stdout.isatty():
            show(table, self._rich())
        else:
            print("\n".join(plain(table)))

    def _rich(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False)
        return self._console

    # ── stderr ─────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, text: str) -> None:
        """For the person at the terminal; programs that read JSON get none."""
        if not self.is_json:
            print(text, file=sys.stderr)

    @contextmanager
    def waiting(self, words: str) -> Iterator[Progress]:
        """While this lasts, progress is told on stderr."""
        self._spinner = _Spinner() if sys.stderr.isatty() else None
        try:
            progress = Progress(self)
            progress.say(words)
            yield progress
        finally:
            if self._spinner is not None:
                self._spinner.stop()
            self._spinner = None

    def progress(self, words: str, seconds: float) -> None:
        """One state of a wait, `seconds` after it began."""
        if self._spinner is not None:
            self._spinner.say(words)
        elif not self.is_json:
            # With -o json a program reads stderr too: there it finds a problem and nothing else.
            print(f"{seconds:5.1f} s  {words}", file=sys.stderr, flush=True)


class _Spinner:
    """One line on a terminal that moves while somebody waits, and leaves nothing behind."""

    def __init__(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True, highlight=False).status("")
        self._status.start()

    def say(self, words: str) -> None:
        from rich.text import Text

        self._status.update(Text(words))

    def stop(self) -> None:
        self._status.stop()
