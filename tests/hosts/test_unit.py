"""The unit that `init --systemd` prints: what systemd makes of it, and why it is as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from intertie.drivers.linux.capabilities import NEEDED
from intertie.model.errors import NotFound, Refused
from intertie.unit_file import systemd_unit

MOUNT_NAMESPACE = {
    *("ProtectSystem", "ProtectHome", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs"),
    *("ProtectControlGroups", "ProtectProc", "ProcSubset", "PrivateTmp", "PrivateDevices", "PrivateMounts"),
    *("PrivateIPC", "IPCNamespacePath", "MountFlags", "RootDirectory", "RootImage", "ReadWritePaths"),
    *("ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths", "BindReadOnlyPaths"),
    *("TemporaryFileSystem", "MountImages", "ExtensionImages", "ExtensionDirectories", "DynamicUser", "LogNamespace"),
}
"""Settings for which systemd gives a service a mount namespace (systemd.exec(5), exec_needs_mount_namespace)."""

HOLD = """
import asyncio, sys
from pathlib import Path
from intertie.drivers.linux.netns import Namespaces, Netns
async def main():
    spaces = Namespaces(Path(sys.argv[1]))
    await spaces.create(Netns("host"))
    print(await spaces.exists(Netns("host")))
    await spaces.close()
asyncio.run(main())
"""


def settings(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z]+)=(.*)$", text, re.M)
    assert len({key for key, _ in found}) == len(found)
    return dict(found)


def test_it_asks_for_what_the_agent_checks_and_no_more() -> None:
    unit = settings(systemd_unit(Path("/var/lib/intertie")))
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert set(unit[key].split()) == set(NEEDED)
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["StateDirectory"] == "intertie"
    assert not unit.keys() & MOUNT_NAMESPACE


def test_it_names_this_program_and_this_directory() -> None:
    unit = settings(systemd_unit(Path("/var/lib/sites/nantes")))
    assert unit["ExecStart"] == f"{sys.prefix}/bin/intertie agent run --dir /var/lib/sites/nantes"
    assert unit["StateDirectory"] == "sites/nantes"
    elsewhere = settings(systemd_unit(Path("/srv/nantes")))
    assert not any(key.startswith("StateDirectory") for key in elsewhere)


@pytest.mark.parametrize("path", ["/srv/my site", "/srv/%h", "/srv/$HOME", '/srv/"'])
def test_a_path_that_a_unit_would_read_otherwise_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        systemd_unit(Path(path))


def test_without_a_program_there_is_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        systemd_unit(Path("/var/lib/intertie"), tmp_path)


@pytest.mark.requires("systemd-analyze")
def test_systemd_takes_it(tmp_path: Path) -> None:
    unit = tmp_path / "intertie.service"
    text = systemd_unit(Path("/var/lib/intertie")).replace("=intertie\nGroup=intertie", "=root\nGroup=root")
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.requires("unshare")
@pytest.mark.parametrize("service", ["without", "with"])
def test_a_mount_namespace_of_the_service_would_take_hosts_down(tmp_path: Path, service: str) -> None:
    """A namespace made by a process in a slave mount namespace is gone when that process is."""
    directory = tmp_path / "netns"
    own = ["unshare", "--mount", "--propagation", "slave"] if service == "with" else []
    words = [*own, sys.executable, "-c", HOLD, str(directory)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    path = directory / "host"
    stands = path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    assert stands is (service == "without")
