"""Starts an agent whose clock is wrong: `launch.py CLOCK LIFETIME CALL_TIMEOUT agent run --dir DIR`.

CLOCK is a file of eight octets, the seconds by which this process's wall clock is ahead (a double, negative: behind);
whoever writes there sets the clock of the running agent. LIFETIME is the seconds that its certificates live, and
CALL_TIMEOUT those that its calls wait, 0 for either: as they are. The product has no hook for any of this: its names
are replaced here, in this process, before it runs.

Not replaced is the clock by which OpenSSL looks at a chain; the agent looks at the same dates itself, by its own.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

from intertie import cli, main, wiring
from intertie.agent.agent import Settings
from intertie.federation.peer_transport import TlsTransport

OFFSET = struct.Struct("=d")


def set_clock(path: Path, ahead: float) -> None:
    """Set the clock of the agent that was launched with this file, running or not. Seconds ahead of the truth."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(OFFSET.pack(ahead))


def falsify(path: Path) -> None:
    """Make this process believe what the file says."""
    with path.open("rb") as file:
        page = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    true = time.time

    def ahead() -> float:
        return float(OFFSET.unpack(page[:])[0])

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead())

    time.time = lambda: true() + ahead()
    vars(wiring)["datetime"] = Shifted


def run(clock: str, lifetime: str, call_timeout: str, *words: str) -> None:
    falsify(Path(clock))
    if float(lifetime):
        vars(main)["TlsTransport"] = partial(TlsTransport, lifetime=timedelta(seconds=float(lifetime)))
    if float(call_timeout):
        vars(main)["Settings"] = partial(Settings, call_timeout=float(call_timeout))
    sys.argv = ["intertie", *words]
    cli.main()


if __name__ == "__main__":
    run(*sys.argv[1:])
