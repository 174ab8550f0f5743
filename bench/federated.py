"""`python -m bench.federated SITES`: so many sites on loopback in one process, idle once they know one another."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.children import until_stdin_ends
from bench.loopback import Loopback


async def live(sites: int) -> None:
    with TemporaryDirectory() as folder:
        world = Loopback(Path(folder))
        await world.start(sites)
        print("up", flush=True)
        await until_stdin_ends()


if __name__ == "__main__":
    uvloop.run(live(int(sys.argv[1])))
