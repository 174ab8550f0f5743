"""`python -m intertie.demo.ping`: ICMP echo for machines without `ping` (RFC 792, RFC 4443), for any user.

In the demo everybody is root of its user namespace, so that a raw socket is allowed. Requests go out on a
fixed beat, answered or not, so that a gap in the replies measures how long nothing crossed.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import FrameType

from intertie.drivers.linux import icmp

SIZE = 84
"""Octets of an IP packet, as ping's 56 of data make with IPv4."""
LATE = 1.0
"""Seconds after which a request without a reply is called unanswered."""


def say(line: str) -> None:
    """A line at once, also into a pipe."""
    print(line, flush=True)


@dataclass(slots=True)
class Tally:
    """What was sent, what came back, what is missing."""

    sent: int = 0
    waiting: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By 16-bit sequence: (number, time sent)."""
    times: list[float] = field(default_factory=list)
    """Round trips in ms."""
    duplicates: int = 0
    last: float = 0.0
    gap: float = 0.0
    """Longest time between two replies, in seconds."""

    def left(self, now: float) -> int:
        """Note a request; its number."""
        self.sent += 1
        self.waiting[self.sent & 0xFFFF] = (self.sent, now)
        return self.sent

    def came(self, sequence: int, now: float) -> tuple[int, float] | None:
        """Note a reply: (number, ms); None for a duplicate or a stranger."""
        known = self.waiting.pop(sequence, None)
        if known is None:
            self.duplicates += 1
            return None
        number, left = known
        if self.last:
            self.gap = max(self.gap, now - self.last)
        self.last = now
        self.times.append((now - left) * 1000)
        return number, self.times[-1]

    def late(self, now: float) -> list[int]:
        """Numbers that are overdue, each told once: they count as lost from now on."""
        overdue = [key for key, (_, left) in self.waiting.items() if now - left > LATE]
        return sorted(self.waiting.pop(key)[0] for key in overdue)

    def summary(self, target: str, seconds: float) -> str:
        """Like ping's, with the longest silence added."""
        got = len(self.times)
        loss = 100 * (self.sent - got) / self.sent if self.sent else 0.0
        twice = f", +{self.duplicates} duplicates" if self.duplicates else ""
        lines = [
            "",
            f"--- {target} ping statistics ---",
            f"{self.sent} packets transmitted, {got} received{twice}, {loss:.4g}% packet loss, "
            f"time {seconds * 1000:.0f}ms",
        ]
        if self.times:
            mean = sum(self.times) / got
            deviation = (sum((each - mean) ** 2 for each in self.times) / got) ** 0.5
            lines.append(
                f"rtt min/avg/max/mdev = {min(self.times):.3f}/{mean:.3f}/{max(self.times):.3f}/"
                f"{deviation:.3f} ms, longest silence {self.gap * 1000:.0f} ms"
            )
        return "\n".join(lines)


LAST = 0.3
"""Seconds for which the last reply is waited for when a run is stopped."""


class Pinger:
    """One run. `run()` returns when `count` requests are answered or late, or after `stop()`."""

    def __init__(self, target: IPv4Address | IPv6Address, interval: float, count: int) -> None:
        self._target, self._interval, self._count = target, interval, count
        self._identifier = os.getpid() & 0xFFFF
        self._size = SIZE if target.version == 4 else SIZE + 20
        self._tally = Tally()
        self._stopped = False
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if target.version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        self._socket = socket.socket(family, socket.SOCK_RAW, protocol)
        self._wake, self._waker = os.pipe()

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """End the run with its summary; may be called from a signal handler."""
        self._stopped = True
        os.write(self._waker, b"x")

    def run(self) -> int:
        """0 when anything answered, else 1, as ping does."""
        say(f"PING {self._target}, 56 bytes of data, every {self._interval * 1000:g} ms")
        start = due = time.monotonic()
        while not self._stopped:
            more = not self._count or self._tally.sent < self._count
            if more and time.monotonic() >= due:
                self._send()
                due += self._interval
            elif not more and not self._tally.waiting:
                break
            self._listen((due if more else time.monotonic() + 0.1) - time.monotonic())
            for number in self._tally.late(time.monotonic()):
                say(f"no answer to icmp_seq={number}")
        self._hear_the_last()
        say(self._tally.summary(str(self._target), time.monotonic() - start))
        return 0 if self._tally.times else 1

    def _hear_the_last(self) -> None:
        """Who is stopped between a request and its reply has lost nothing."""
        until = time.monotonic() + LAST
        while self._tally.waiting and (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self._socket.fileno()], [], [], left)
            if readable:
                packet, source = self._socket.recvfrom(65535)
                self._take(packet, str(source[0]))

    def _send(self) -> None:
        number = self._tally.left(time.monotonic())
        packet = icmp.echo_request(self._target.version, self._identifier, number & 0xFFFF, self._size)
        try:
            self._socket.sendto(packet, (str(self._target), 0))
        except OSError as failure:
            say(f"icmp_seq={number} not sent: {failure.strerror}")

    def _listen(self, seconds: float) -> None:
        """Take replies until `seconds` have passed; at least look once."""
        until = time.monotonic() + seconds
        while True:
            wait = max(0.0, until - time.monotonic())
            readable, _, _ = select.select([self._socket.fileno(), self._wake], [], [], wait)
            if self._wake in readable or not readable:
                return
            packet, source = self._socket.recvfrom(65535)
            self._take(packet, str(source[0]))

    def _take(self, packet: bytes, source: str) -> None:
        now = time.monotonic()
        answered = ip_address(source.partition("%")[0])
        message = icmp.parse(self._target.version, packet, answered, self._identifier)
        if message is None or message.target != self._target:
            return
        if message.outcome is not icmp.Outcome.REPLY:
            say(f"from {source}: icmp_seq={message.seq} {message.outcome}")
            return
        known = self._tally.came(message.seq, now)
        if known is None:
            say(f"from {source}: icmp_seq={message.seq} late or twice")
        else:
            say(f"64 bytes from {source}: icmp_seq={known[0]} time={known[1]:.3f} ms")


def main(arguments: list[str]) -> int:
    """ADDRESS [-i SECONDS] [-c COUNT]."""
    parser = argparse.ArgumentParser(prog="ping", description="ICMP echo, IPv4 and IPv6")
    parser.add_argument("address", type=ip_address)
    parser.add_argument("-i", "--interval", type=float, default=1.0, help="seconds between requests")
    parser.add_argument("-c", "--count", type=int, default=0, help="how many; 0: until Ctrl-C")
    told = parser.parse_args(arguments)
    if told.interval < 0.001 or told.count < 0:
        parser.error("an interval is at least 0.001, a count at least 0")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in `ping … | head`
    pinger = Pinger(told.address, told.interval, told.count)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pinger.stop)
    return pinger.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
