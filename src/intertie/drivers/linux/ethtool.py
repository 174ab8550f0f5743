"""Checksums that a device leaves to whoever sends its packets on, by the ioctl of ethtool(8).

A packet that the kernel itself makes, or takes out of a tunnel, has its checksum filled in where it leaves by
hardware. A virtual cable is no hardware: it hands the packet over without. The kernel at the other end knows that;
a process that takes packets from there, as a switch in user space does, forwards what every receiver then drops.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946
GET_TX_CHECKSUMS, SET_TX_CHECKSUMS = 0x16, 0x17
NAME = 16


def leaves_checksums(device: str) -> bool:
    """Whether the device of the calling thread's namespace hands packets over without them. OSError if there is no
    such device, or it has no word on it."""
    return bool(_ask(device, GET_TX_CHECKSUMS, 0))


def fill_in_checksums(device: str) -> None:
    """From now on they are filled in before a packet is handed over, and large packets are cut before, too."""
    _ask(device, SET_TX_CHECKSUMS, 0)


def _ask(device: str, command: int, value: int) -> int:
    """struct ethtool_value, which struct ifreq points to."""
    data = array.array("B", struct.pack("=II", command, value))
    request = struct.pack(f"@{NAME}sP16x", device.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        fcntl.ioctl(asked, SIOCETHTOOL, request)
    return int(struct.unpack("=II", data.tobytes())[1])
