"""The systemd unit of a site's agent: `intertie.service` of this package, with the paths of this machine.

Imports little, so that `init` is quick.
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path

from intertie.model.errors import NotFound, Refused

_STATE = Path("/var/lib")
_PLAIN = re.compile(r"/[A-Za-z0-9/._+@=-]*")
"""Paths that mean the same in a unit as in a shell: no space, quote, backslash, $ or % (systemd.unit(5))."""


def systemd_unit(dir: Path, prefix: Path | None = None) -> str:
    """The unit of the agent of `dir`, run from the environment at `prefix` (the running one).

    NotFound without a program `intertie` there; Refused for a path that a unit cannot name plainly.
    """
    program = (prefix or Path(sys.prefix)) / "bin" / "intertie"
    if not program.is_file():
        raise NotFound(f"no program at {program}", hint="install Intertie with pip into an environment of its own")
    text = files("intertie").joinpath("intertie.service").read_text()
    text = text.replace("@PROGRAM@", _plain(program)).replace("@DIR@", _plain(dir.absolute()))
    state = dir.absolute()
    if state.is_relative_to(_STATE) and state != _STATE:
        return text.replace("StateDirectory=intertie", f"StateDirectory={state.relative_to(_STATE)}")
    # Elsewhere systemd makes no directory: it is the operator's, and must be the user's who runs the agent.
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("StateDirectory"))


def _plain(path: Path) -> str:
    if not _PLAIN.fullmatch(str(path)):
        raise Refused(f"{str(path)!r} cannot stand in a unit", hint="a path of letters, digits and / . _ + @ = -")
    return str(path)
