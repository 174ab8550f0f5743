"""Fixtures of more than one file: the command line, and a site for it to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli_run import Runner
from tests.unit.cli_site import Site, serving


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """`intertie` in this process."""
    return Runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, cli: Runner) -> Iterator[Site]:
    """A site that `cli` talks to."""
    with serving() as found:
        monkeypatch.setenv("INTERTIE_URL", found.url)
        yield found
