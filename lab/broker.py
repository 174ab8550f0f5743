"""A RabbitMQ between Neutrons and the agents of their switches; with ML2/OVN nobody needs one.

Queues are named alike in every region, so each has a virtual host of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.environment import SBIN, LabError
from lab.process import confined

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""What Debian's wrapper in PATH calls, after it has become the user `rabbitmq`, who may not write here."""
USER = "lab"


@contextmanager
def running(folder: Path, address: str, port: int, regions: Sequence[str]) -> Iterator[dict[str, str]]:
    """Until the block ends, at that address; `port` and the two after it are taken.
    Region → URL of its part, for oslo.messaging."""
    folder.mkdir()
    _settle(folder, address, port, regions)
    with (folder / "out").open("w") as log:
        server = subprocess.Popen(
            confined(SERVER), env=_surroundings(folder, port), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait(server, address, port, folder)
        yield {region: f"rabbit://{USER}:{USER}@{address}:{port}/{region}" for region in regions}
    finally:
        server.kill()
        server.wait()


def _settle(folder: Path, address: str, port: int, regions: Sequence[str]) -> None:
    everything = {"user": USER, "configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "users": [{"name": USER, "password": USER, "tags": "administrator"}],
        "vhosts": [{"name": region} for region in regions],
        "permissions": [{**everything, "vhost": region} for region in regions],
    }
    settings = {
        "listeners.tcp.1": f"{address}:{port}",
        "load_definitions": folder / "definitions.json",
        "log.console": "true",
        "log.console.level": "warning",
        "vm_memory_high_watermark.absolute": "400MB",
        "disk_free_limit.absolute": "50MB",
    }
    (folder / "definitions.json").write_text(json.dumps(definitions))
    (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (folder / "plugins").write_text("[].\n")
    (folder / "environment.conf").write_text("")  # else it reads the machine's


def _surroundings(folder: Path, port: int) -> dict[str, str]:
    places = {
        "CONFIG_FILE": folder / "rabbitmq.conf",
        "CONF_ENV_FILE": folder / "environment.conf",
        "ENABLED_PLUGINS_FILE": folder / "plugins",
        "MNESIA_BASE": folder / "mnesia",
        "LOG_BASE": folder / "log",
        "PID_FILE": folder / "pid",
        "NODENAME": f"lab{port}@localhost",
        "DIST_PORT": port + 1,
        # One scheduler: it has little to do, and idle ones are awake for a while after each message.
        "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
    }
    node = {f"RABBITMQ_{name}": str(value) for name, value in places.items()}
    names = {"ERL_EPMD_PORT": str(port + 2), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    return {**os.environ, **node, **names, "HOME": str(folder), "PATH": SBIN}


def _wait(server: subprocess.Popen[bytes], address: str, port: int, folder: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((address, port), timeout=2).close()
            return
        except OSError as error:
            if server.poll() is not None or time.monotonic() > end:
                raise LabError(f"RabbitMQ does not start: see {folder}/out") from error
            time.sleep(0.2)
