"""`python -m intertie.demo.enter HOST ADDRESS [--] CMD…`, in a site's namespaces: CMD in that host's.

A host is known by its address: the namespace (of those named in this site's /run/netns) in which a socket can
be bound to it. Projects may use equal addresses, so among several the one named after the host wins.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from intertie.demo import kernel


def _has(address: str) -> bool:
    """Whether the current network namespace owns `address`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def find(host: str, address: str) -> str:
    """The name of the host's namespace; "" when there is none. Leaves the process in some namespace."""
    found: list[str] = []
    for path in sorted(Path("/run/netns").iterdir()):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            kernel.setns(fd, kernel.CLONE_NEWNET)
        except OSError:
            continue  # a name left behind, with nothing mounted on it
        finally:
            os.close(fd)
        if _has(address):
            found.append(path.name)
    return min(found, key=lambda name: (not name.endswith(f"-{host}"), host not in name, name), default="")


def main(arguments: list[str]) -> int:
    """Become CMD; 127 when there is no such host or no such command."""
    host, address, command = arguments[0], arguments[1], arguments[2:]
    if command[:1] == ["--"]:
        command = command[1:]
    name = find(host, address)
    if not name:
        print(f"intertie: {host} ({address}) has no namespace here", file=sys.stderr)
        return 127
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    kernel.setns(fd, kernel.CLONE_NEWNET)
    try:
        os.execvp(command[0], command)
    except OSError as failure:
        print(f"intertie: {command[0]}: {failure.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
