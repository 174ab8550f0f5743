"""Open vSwitch in user space inside a namespace, and a stand-in for the agent that Neutron has beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from intertie.drivers.openstack import ovsdb
from intertie.drivers.openstack.ovsdb import Ovsdb

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
TUN = "/dev/net/tun"
PROGRAMS = ("ovsdb-server", "ovs-vswitchd")


class OpenVswitch:
    """A database, a switch that forwards in user space, and `br-int`, which learns MACs within each VLAN."""

    def __init__(self, netns: Path, directory: Path) -> None:
        self.netns = netns
        self.directory = directory
        self.address = f"unix:{directory}/db.sock"
        self.database = Ovsdb(self.address)

    def start(self, bridge: str = "br-int") -> None:
        if not os.access(TUN, os.R_OK | os.W_OK):
            pytest.skip(f"Open vSwitch makes its bridges in user space with {TUN}, which only root may open here")
        self.directory.mkdir(parents=True, exist_ok=True)
        database = self.directory / "conf.db"
        self._run("ovsdb-tool", "create", str(database), SCHEMA)
        self._daemon("ovsdb-server", str(database), f"--remote=punix:{self.directory}/db.sock")
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:hostname=gw")
        self._daemon("ovs-vswitchd", self.address)
        self.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=standalone")

    def vsctl(self, *words: str) -> str:
        return self._run("ovs-vsctl", f"--db={self.address}", *words)

    def pid(self, program: str) -> int:
        return int((self.directory / f"{program}.pid").read_text())

    def stop(self) -> None:
        for program in reversed(PROGRAMS):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(self.pid(program), signal.SIGKILL)

    def _daemon(self, program: str, *words: str) -> None:
        pid, log = self.directory / f"{program}.pid", self.directory / f"{program}.log"
        self._run(program, *words, f"--pidfile={pid}", f"--log-file={log}", "--detach", "--no-chdir", "-vconsole:off")

    def _run(self, *words: str) -> str:
        places = {f"OVS_{name}DIR": str(self.directory) for name in ("RUN", "LOG", "DB")}
        done = subprocess.run(
            ["nsenter", f"--net={self.netns}", *words],
            env={**os.environ, **places},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout


class VlanAgent:
    """Gives each port whose `iface-id` it knows the VLAN of its network, as Neutron's Open vSwitch agent does."""

    def __init__(self, switch: OpenVswitch, vlans: Mapping[str, int]) -> None:
        self.vlans = vlans
        self._database = switch.database
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for _ in self._database.news({"Interface": ("external_ids",)}):
            await self.look()

    async def look(self) -> None:
        [found] = await self._database.transact(ovsdb.select("Interface", (), ("name", "external_ids")))
        for row in ovsdb.rows(found):
            tag = self.vlans.get(row["external_ids"].get("iface-id", ""))
            if tag is not None:
                change: dict[str, Any] = {"tag": tag}
                await self._database.transact(ovsdb.update("Port", (("name", "==", row["name"]),), change))

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
