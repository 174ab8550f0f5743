"""The supervisor's control socket: one JSON message a packet (SOCK_SEQPACKET), descriptors beside it.

    client → supervisor   Request: what to do, to which site; `run` brings its three streams (SCM_RIGHTS)
    supervisor → client   Reply: done or why not; `run` ends with event "ended", `watch` tells every exit

The socket lives in the demo's state directory with mode 0600: who may open it is its owner.
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from intertie.demo.abort import Abort

_LARGEST = 128 * 1024
_DESCRIPTORS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`do`: run, signal, start, kill, cut, heal, status, watch, stop."""

    do: str
    site: str = ""
    other: str = ""
    argv: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    terminal: bool = False
    number: int = 0
    """`signal`: which one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """A site as the supervisor sees it. `pid` counts in the demo's own pid namespace; 0 when not running."""

    name: str
    pid: int = 0
    exit: int | None = None
    """How the agent ended last (negative: by that signal), None if it never did."""
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """`event`: "" for a plain answer, "ended" (a `run`), "exit" (an agent, to who watches)."""

    ok: bool = True
    code: int = 1
    """With `ok` False: the exit code that fits."""
    detail: str = ""
    hint: str = ""
    event: str = ""
    site: str = ""
    status: int = 0
    """Exit status: 0..255, or minus the signal's number."""
    wanted: bool = False
    """The agent's end was asked for (`kill`, `stop`)."""
    sites: tuple[SiteStatus, ...] = ()
    cuts: tuple[tuple[str, str], ...] = ()


def _encode(message: Request | Reply) -> bytes:
    return json.dumps(asdict(message), separators=(",", ":")).encode()


def decode_request(data: bytes) -> Request:
    """ValueError or TypeError when it is not one."""
    fields = json.loads(data)
    return Request(**{**fields, "argv": tuple(fields.get("argv", ()))})


def decode_reply(data: bytes) -> Reply:
    """ValueError or TypeError when it is not one."""
    fields = json.loads(data)
    return Reply(
        **{
            **fields,
            "sites": tuple(SiteStatus(**site) for site in fields.get("sites", ())),
            "cuts": tuple((one, other) for one, other in fields.get("cuts", ())),
        }
    )


def send(to: socket.socket, message: Request | Reply, descriptors: Sequence[int] = ()) -> None:
    """One message with its descriptors. OSError when the other side is gone or does not read."""
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    to.sendmsg([_encode(message)], beside)


def receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """One message and the descriptors beside it; b"" at the end."""
    room = socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize)
    data, beside, _, _ = source.recvmsg(_LARGEST, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


def listen(path: Path) -> socket.socket:
    """The supervisor's end, mode 0600 from the start (its directory is 0700 besides)."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(16)
    return listener


class Control:
    """A client's connection to the supervisor."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.socket.connect(str(path))
        except OSError as failure:
            self.socket.close()
            raise Abort(f"the demo's supervisor does not answer: {failure.strerror}") from failure

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: Request, descriptors: Sequence[int] = ()) -> None:
        """Abort when the supervisor has ended."""
        try:
            send(self.socket, request, descriptors)
        except OSError as failure:
            raise Abort("the demo has ended") from failure

    def receive(self) -> Reply:
        """The next reply, also one that says no. Abort when the supervisor has ended."""
        try:
            data, _ = receive(self.socket)
        except ConnectionError:
            data = b""
        if not data:
            raise Abort("the demo has ended")
        return decode_reply(data)

    def ask(self, request: Request, descriptors: Sequence[int] = ()) -> Reply:
        """Send and wait for the answer. Abort with the supervisor's words when it says no."""
        self.send(request, descriptors)
        reply = self.receive()
        if not reply.ok:
            raise Abort(reply.detail, hint=reply.hint, code=reply.code)
        return reply
