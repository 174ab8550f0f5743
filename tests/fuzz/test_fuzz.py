"""Every decoder of what others wrote: the kept corpus, the bugs of the past, and a guided run from there.

INTERTIE_FUZZ_SECONDS (2) is how long each target's guided run takes, INTERTIE_FUZZ_SEED (1) where it begins. A
failing input is printed in base64: put it into `found/TARGET.txt`, and it is tried for ever.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from base64 import b64encode
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.samples import FOUND, KEPT, read, samples
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("INTERTIE_FUZZ_SECONDS", "2"))
SEED = os.environ.get("INTERTIE_FUZZ_SEED", "1")
REFUSED = {"store_row"}
"""Of these the corpus is damage: most of it is to be refused."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_our_encoders_once_wrote_is_read(name: str) -> None:
    kept = read(KEPT, name)
    assert kept
    read_well = [one for one in kept if TARGETS[name](one) is not None]
    assert len(read_well) == len(kept) or name in REFUSED
    assert read_well


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_once_a_bug_is_read_or_refused(name: str) -> None:
    for one in read(FOUND, name):
        TARGETS[name](one)


def test_the_corpus_is_of_every_target_and_as_our_encoders_write_now() -> None:
    """Whoever changes a format finds out here; `python -m tests.fuzz.samples` writes it anew."""
    made = samples()
    assert made.keys() == TARGETS.keys() == {path.stem for path in KEPT.glob("*.txt")}
    assert {path.stem for path in FOUND.glob("*.txt")} <= TARGETS.keys()
    random = {"root", "leaf", "point", "signature", "token", "record", "message", "nftables"}
    for name in made.keys() - random:
        assert read(KEPT, name) == made[name], name


def lacks_atheris() -> str:
    """Why there is no guided run here; "" where there is."""
    if find_spec("atheris") is not None:
        return ""
    where = f"Python {platform.python_version()} on {platform.machine()}"
    return f"atheris, which guides the run, is not made for {where}"


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all targets had their guided runs, at once on all cores."""
    if reason := lacks_atheris():
        # Where there are wheels of it, its absence is a failure.
        assert sys.version_info >= (3, 14) or platform.machine() != "x86_64", reason
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("guided")
    for name in TARGETS:
        (folder / name).mkdir()
        for n, one in enumerate((*read(KEPT, name), *read(FOUND, name))):
            (folder / name / str(n)).write_bytes(one)
    command = (sys.executable, "-m", "tests.fuzz.harness", str(folder), str(SECONDS), SEED)
    subprocess.run(command, cwd=ROOT, check=True, timeout=240 + 2 * SECONDS * len(TARGETS))
    return folder


@pytest.mark.timeout(300 + 2 * SECONDS * len(TARGETS))
@pytest.mark.parametrize("name", TARGETS)
def test_a_guided_run_finds_nothing(name: str, guided: Path) -> None:
    crashes = [b64encode(path.read_bytes()).decode() for path in guided.glob(f"{name}-*")]
    log = (guided / f"{name}.log").read_text(errors="replace")
    assert (guided / f"{name}.ended").read_text() == "0", f"{crashes}\n{log[-3000:]}"
    assert "stat::number_of_executed_units" in log, log[-3000:]
