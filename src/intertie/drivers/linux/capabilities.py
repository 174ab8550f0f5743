"""What a process must be allowed to do to hold bridges, namespaces and filters: seen before it fails at each step."""

from __future__ import annotations

from pathlib import Path

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
"""Bits of capabilities(7): devices, routes and filters; probes; entering namespaces."""


def lacking(status: Path = Path("/proc/self/status")) -> tuple[str, ...]:
    """Which of them this process does not have in effect, by name."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    return tuple(name for name, bit in NEEDED.items() if not held >> bit & 1)
