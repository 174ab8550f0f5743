"""An Intertie agent as a process: in a namespace of its own site's, its users' API on the host's 127.0.0.1."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from intertie.client import Client, connect
from intertie.model.errors import IntertieError
from lab.environment import LabError

PROGRAM = Path(sys.executable).parent / "intertie"
SLOW = 90.0
"""Seconds for an agent to come up, Neutron's first answer included."""


class Agent:
    """One that may be killed, and started again. `namespace` is a name of `ip netns`."""

    def __init__(self, dir: Path, namespace: str, port: int) -> None:
        self.dir, self.namespace, self.port = dir, namespace, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def init(self, name: str, underlay: str, more: str = "") -> None:
        """Its directory; `more` is of site.toml."""
        command: list[str | Path] = [PROGRAM, "init", "--name", name, "--dir", self.dir, "--underlay", underlay]
        subprocess.run(command, check=True, capture_output=True)
        with (self.dir / "site.toml").open("a") as file:
            file.write(more)

    def start(self) -> None:
        # Not `ip netns exec`: namespaces that the agent makes for routers and hosts would be seen by itself only.
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        with (
            closing(socket.create_server(("127.0.0.1", self.port))) as users,
            (self.dir / "agent.log").open("a") as log,
        ):
            fd = users.fileno()
            command: list[str | Path] = [*enter, PROGRAM, "agent", "run", "--dir", self.dir, "--fd", str(fd)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[fd])

    def kill(self) -> None:
        """At once, as by a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """As its host would, shutting down."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def up(self) -> Client:
        """Its operator's client, once it answers; to be closed."""
        end = time.monotonic() + SLOW
        while True:
            try:
                client = connect(dir=self.dir)
                client.site()
                return client
            except (IntertieError, OSError) as error:
                if time.monotonic() > end:
                    raise LabError(f"the agent of {self.dir} does not come up: {error}") from error
                time.sleep(0.2)
