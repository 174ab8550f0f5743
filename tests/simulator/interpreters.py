"""Pythons of this machine, run so bare that no third-party package can be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLDEST = 11


def bare(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What an interpreter says that sees its own library and src/ alone."""
    return subprocess.run(
        # -S: no site-packages, so not those of an environment either; -s: none of the user's.
        [python, "-S", "-s", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def interpreters() -> dict[str, str]:
    """Version ("3.12") → a Python of it, this one's own first; none older than Intertie asks for."""
    found = {f"3.{sys.version_info.minor}": sys.executable}
    for python in _candidates():
        # A version manager's shim may stand for no interpreter at all: it is asked.
        said = bare(python, "-c", "import sys; print(*sys.version_info[:2], sep='.')")
        version = said.stdout.strip()
        if said.returncode == 0 and version.startswith("3.") and int(version[2:]) >= OLDEST:
            found.setdefault(version, python)
    return found


def _candidates() -> Iterator[str]:
    names = [f"python3.{minor}" for minor in range(OLDEST, 16)]
    for name in names:
        if (path := shutil.which(name)) is not None:
            yield path
    for name in names:
        if Path("/usr/bin", name).exists():
            yield f"/usr/bin/{name}"
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    if os.access(home / "versions", os.R_OK | os.X_OK):
        yield from map(str, sorted(home.glob("versions/3.*/bin/python3")))
