"""On a terminal: colours, a spinner that leaves nothing, Ctrl-C. And into a pipe that closes early."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.cli_site import SITE, Answer, Site, items, member, serving, vpn, waiting

PROGRAM = str(Path(sys.executable).with_name("intertie"))
READY = vpn(member("nantes"), member("lyon"))
ASKED = vpn(member("nantes", health="unknown"), waiting("lyon"), phase="waiting", reason="no answer yet from lyon")
CREATE = ("vpn", "create", "blue", "--kind", "l2", "-a", "nantes:blue", "-a", "lyon")


def environment(site: Site, home: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "INTERTIE_URL": site.url,
        "INTERTIE_DIR": str(home),
        "TERM": "xterm-256color",
        "COLUMNS": "120",
        **more,
    }


def on_terminal(words: tuple[str, ...], env: dict[str, str]) -> tuple[int, str]:
    """Exit code, and all that the terminal was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 30)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # Linux's way to say that nobody holds the other end any more
                break
        os.close(ours)
        return running.wait(), seen.decode()


def test_states_are_coloured_unless_no_color_is_set(tmp_path: Path) -> None:
    with serving() as site:
        site.on("GET", "/v1/vpns", items(READY))
        code, seen = on_terminal(("vpn", "list"), environment(site, tmp_path))
        assert (code, "\x1b[32mready" in seen) == (0, True)
        _, seen = on_terminal(("vpn", "list"), environment(site, tmp_path, NO_COLOR="1"))
        assert "ready" in seen
        assert not re.search(r"\x1b\[3\dm", seen)
        _, seen = on_terminal(("vpn", "list", "-o", "json"), environment(site, tmp_path))
        assert "\x1b" not in seen


def test_a_wait_spins_and_leaves_the_result(tmp_path: Path) -> None:
    with serving() as site:
        site.on("POST", "/v1/vpns", Answer(ASKED, 201))
        site.holds_vpn(ASKED, ASKED, ASKED, READY)
        code, seen = on_terminal((*CREATE, "--wait", "20"), environment(site, tmp_path))
    assert code == 0
    spun, result = seen.split("blue  l2 over vxlan", 1)
    assert "waiting: nantes accepted/unknown, lyon waiting" in spun
    # The line is erased and the cursor shown again, before the result begins.
    assert re.search(r"\x1b\[2K(\x1b\[[0-9;]*m)*$", spun), repr(spun[-80:])
    assert "\x1b[?25h" in spun
    assert "BETWEEN" in result


@pytest.mark.parametrize("words", [(*CREATE, "--wait", "60"), ("vpn", "show", "blue")])
def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, words: tuple[str, ...]) -> None:
    asked = threading.Event()
    release = threading.Event()

    class Slow(Site):
        def answer(self, asked_for: object) -> Answer:
            asked.set()
            release.wait(30)
            return Answer(SITE)

    with serving(Slow()) as site:
        with subprocess.Popen(
            [PROGRAM, *words],
            env=environment(site, tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert asked.wait(30)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=30)
        release.set()
    assert running.returncode == 130
    assert "Traceback" not in err


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    with serving() as site:
        site.on("GET", "/v1/vpns", items(*(vpn(member("nantes"), name=f"v{i}") for i in range(3000))))
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [PROGRAM, "vpn", "list"],
            env=environment(site, tmp_path),
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
