"""Running the command line inside a test, with an environment of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intertie.cli import app, shown

WRITE = "INTERTIE_GOLDEN_WRITE"
GOLDEN = Path(__file__).with_name("golden")


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Runner:
    """`intertie WORDS…` in this process. The environment has no INTERTIE_ variable and an empty home."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.patch = patch
        self._capture = capture
        for name in list(os.environ):
            if name.startswith(("INTERTIE_", "XDG_", "_INTERTIE")) and name != WRITE:
                patch.delenv(name)
        # Not the default directory: for root that is the machine's own.
        patch.setenv("INTERTIE_DIR", str(home / "state"))
        patch.setenv("HOME", str(home))
        patch.setenv("COLUMNS", "80")
        patch.setattr(shown, "now", lambda: datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC))

    def __call__(self, *words: str) -> Said:
        code = app.run(words)
        out, err = self._capture.readouterr()
        return Said(int(code), out, err)


def golden(name: str, text: str) -> None:
    """`text` is what the file of that name says. INTERTIE_GOLDEN_WRITE=1 renews the files, to be read in the diff."""
    path = GOLDEN / name
    if os.environ.get(WRITE) == "1":
        path.write_text(text)
    assert text == path.read_text(), f"{name} differs; {WRITE}=1 renews it"
