"""Processes that a benchmark starts and ends: each says one line when it is up, and lives until its stdin ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import ROOT

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Child:
    process: subprocess.Popen[str]
    said: str
    """Its line."""

    @property
    def seconds(self) -> float:
        """Processor time so far, of all its threads, in user and kernel."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def resident(self) -> float:
        """MiB that are its own and in memory."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no Pss")


@contextmanager
def child(module: str, *words: str, core: int | None = None) -> Iterator[Child]:
    """`python -m module words`, on one core if told; ended when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        if not said:
            raise RuntimeError(f"{module} ended with {process.wait()}")
        yield Child(process, said)
    finally:
        process.kill()
        process.communicate()


async def until_stdin_ends() -> None:
    """In a child: the parent is there as long as this waits."""
    import asyncio

    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
