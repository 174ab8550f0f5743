"""What keeps an agent from starting is said in words, on one line, with what to do; nothing of the site changes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from intertie.drivers.linux.capabilities import NEEDED
from intertie.site_file import init_site
from intertie.store import schema

WORDS = (sys.executable, "-m", "intertie", "agent", "run", "--dir")


def run(*command: str) -> tuple[int, str]:
    """Exit code and stderr of an agent that is expected to end."""
    environment = {"PATH": f"{os.defpath}:/usr/sbin:/sbin", "HOME": "/nonexistent"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return init_site("nantes", tmp_path / "nantes", underlay="127.0.0.1")


def test_a_store_of_a_later_version(site: Path) -> None:
    """An older program is started on what a newer one has migrated: it says so, and how to go on or back."""
    with closing(sqlite3.connect(site / "intertie.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (?)", (schema.VERSION + 1,))
        connection.commit()
    before = (site / "intertie.db").read_bytes()
    code, said = run(*WORDS, str(site))
    assert code == 1
    error, hint = said.strip().splitlines()[-2:]
    assert error.startswith(f"error: the store {site}/intertie.db cannot be used")
    assert f"schema version {schema.VERSION + 1}, this Intertie knows up to {schema.VERSION}" in error
    assert "start the version of Intertie that last ran here, or a later one" in hint
    assert "intertie restore FILE --replace" in hint
    assert (site / "intertie.db").read_bytes() == before


@pytest.mark.requires("setpriv")
@pytest.mark.parametrize("missing", NEEDED)
def test_a_capability_that_is_missing(site: Path, missing: str) -> None:
    less = f"-{missing.removeprefix('CAP_').lower()}"
    code, said = run("setpriv", f"--bounding-set={less}", f"--inh-caps={less}", *WORDS, str(site))
    assert code == 2
    assert f"error: the agent may not change this machine's network: it lacks {missing}\n" in said
    assert "AmbientCapabilities=" in said
