"""Where the agent is, and who calls: what was given, then the environment, cli.toml, this machine's own agent.

    1. --url, --token; or --dir, typed: that site's own socket
    2. $INTERTIE_URL, $INTERTIE_TOKEN
    3. url, token in ~/.config/intertie/cli.toml ($XDG_CONFIG_HOME)
    4. no URL and no token so far: api.sock in $INTERTIE_DIR or in the default state directory, if an agent listens
    5. http://127.0.0.1:7575

The socket needs no token: whoever may open the file is the site's operator, and acts for the project of --project.
A token of cli.toml goes only to cli.toml's own URL (or to the default one, if it names none).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from intertie.client.errors import usage
from intertie.model.errors import Unavailable

DEFAULT_URL = "http://127.0.0.1:7575"
DEFAULT_PROJECT = "demo"
START = "start one: intertie init --name NAME --dir DIR, then intertie agent run --dir DIR; or try intertie demo"
SOCKET = "api.sock"
_PATIENCE = 1.0
_TAKEOVER = 0.3
"""Seconds."""
_LONGEST_PATH = 100
"""Octets of a socket's path that fit its address everywhere; longer ones are reached through /proc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was typed; "" or None for what was not."""

    url: str = ""
    token: str = ""
    dir: Path | None = None
    project: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An agent's API: at `url`, or behind `socket`.

    `tokens` gives a token for each request in place of `token`: asked with True, another one than that which was
    refused. `verify`, `cert` are for https, in the manner of keystoneauth: a file or folder of authorities, or
    whether to look at all; a file with a certificate and its key, or the two.
    """

    url: str
    token: str = ""
    tokens: Callable[[bool], str] | None = None
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    socket: Path | None = None
    project: str = DEFAULT_PROJECT

    @property
    def words(self) -> str:
        return str(self.socket) if self.socket else self.url


def default_dir(environment: Mapping[str, str]) -> Path:
    """$INTERTIE_DIR, or where a site's state is when nobody says otherwise (docs/interface.md, STATE)."""
    if environment.get("INTERTIE_DIR"):
        return Path(environment["INTERTIE_DIR"])
    if os.geteuid() == 0:
        return Path("/var/lib/intertie")
    return Path(environment.get("HOME") or Path.home()) / ".local/state/intertie"


def find(flags: Flags, environment: Mapping[str, str]) -> Place:
    """The agent to talk to. Unavailable (unreachable) if a socket was asked for and nobody listens there; Refused
    (usage) if what was typed or written down cannot be meant."""
    kept = _kept(environment)
    project = flags.project or environment.get("INTERTIE_PROJECT") or kept.get("project") or DEFAULT_PROJECT
    if flags.dir is not None and not flags.url:
        return Place(url="http://agent", token=flags.token, socket=_answering(flags.dir), project=project)
    ours = flags.token or environment.get("INTERTIE_TOKEN", "")
    if url := flags.url or environment.get("INTERTIE_URL", ""):
        token = ours or (kept.get("token", "") if _same(url, kept.get("url", DEFAULT_URL)) else "")
        return Place(url=_checked(url), token=token, project=project)
    token = ours or kept.get("token", "")
    if "url" not in kept and not token and (found := _listening(default_dir(environment) / SOCKET)):
        return Place(url="http://agent", socket=found, project=project)
    return Place(url=_checked(kept.get("url", DEFAULT_URL)), token=token, project=project)


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise usage(f"{url!r} is no URL of an agent", f"for example {DEFAULT_URL}")
    return url.rstrip("/")


def _kept(environment: Mapping[str, str]) -> dict[str, str]:
    """cli.toml's url, token and project; {} without such a file."""
    home = Path(environment.get("HOME") or Path.home())
    path = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "intertie" / "cli.toml"
    try:
        text = path.read_text()
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return {}
        raise usage(f"{path}: {error.strerror}") from error
    import tomllib

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise usage(f"{path}: {error}", 'lines like url = "http://127.0.0.1:7575"') from error
    for name, value in found.items():
        if name not in ("url", "token", "project") or not isinstance(value, str):
            raise usage(f"{path}: {name} is no setting, or no text", "url, token, project")
    return {name: value for name, value in found.items() if value}


def _answering(dir: Path) -> Path:
    path = dir / SOCKET
    until = time.monotonic() + _TAKEOVER
    while True:
        if found := _listening(path):
            return found
        # Of several agents of a directory another one takes the socket over when one ends: a moment later.
        if not (dir / "api.lock").exists() or time.monotonic() > until:
            break
        time.sleep(_TAKEOVER / 10)
    raise Unavailable(f"no agent answers at {path}", code="unreachable", hint=f"intertie agent run --dir {dir}")


def _listening(path: Path) -> Path | None:
    """`path`, or a shorter way to the same socket, if somebody accepts connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            path = _short(path)
            probe.connect(str(path))
        except OSError:
            return None
    return path


def _short(path: Path) -> Path:
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    # The descriptor stays open for as long as this process may call the agent.
    return Path(f"/proc/self/fd/{os.open(path.parent, os.O_PATH | os.O_DIRECTORY)}") / path.name
