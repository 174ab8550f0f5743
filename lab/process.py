"""Services of the lab as processes: started, awaited, ended by pid."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from lab.environment import HERE, LabError, python

SLOW = 120.0
"""Seconds for a service to answer: imports alone take seconds on a busy machine."""


class Services:
    """All Keystones, or all Neutrons, of a lab: forks of one process. `pids` are in the order of the places."""

    def __init__(self, kind: str, address: str, places: Sequence[tuple[Path, int]]) -> None:
        command: list[str | Path] = [
            python(),
            HERE / "inside" / "serve.py",
            kind,
            address,
            *(f"{f}:{p}" for f, p in places),
        ]
        log = places[0][0].parent / f"{kind}.log"
        with log.open("a") as errors:
            self._parent = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._parent.stdout is not None
        told = [self._parent.stdout.readline() for _ in places]
        if not all(told):
            raise LabError(f"{kind} does not start: see {log}")
        self.pids = tuple(int(line) for line in told)

    def end(self) -> None:
        """All of them, at once."""
        self._parent.terminate()
        self._parent.wait(30)
        if self._parent.stdout is not None:
            self._parent.stdout.close()


def confined(*command: str | Path) -> tuple[str | Path, ...]:
    """The command, as the first process of a process namespace: once it is killed, so is all that it ever started."""
    return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *command)


def wait_for(url: str, limit: float = SLOW) -> None:
    """Until something answers HTTP there, whatever it says."""
    end = time.monotonic() + limit
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if time.monotonic() > end:
                raise LabError(f"no answer from {url}: {error}") from error
            time.sleep(0.1)
