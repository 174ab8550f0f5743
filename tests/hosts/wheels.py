"""Wheels of what is installed here, so that hosts without a way to an index install the same with an ordinary pip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

INSTALLERS_OWN = {"INSTALLER", "REQUESTED", "direct_url.json"}


def closure(names: Iterable[str]) -> dict[str, Distribution]:
    """The distributions of these names and of all that they need here."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or ():
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *wanted.extras)]
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in extras):
                waiting.append(needed)
    return found


def pack(one: Distribution, folder: Path) -> Path:
    """The wheel (PEP 427) of an installed distribution: its files as they are, compiled ones too."""
    wheel = one.read_text("WHEEL") or ""
    tags = [line.partition(":")[2].strip().split("-") for line in wheel.splitlines() if line.startswith("Tag:")]
    # One name for all of them: py2.py3-none-any (PEP 425, compressed tag sets).
    tag = "-".join(".".join(dict.fromkeys(column)) for column in zip(*tags, strict=True))
    name = re.sub(r"[-_.]+", "_", one.metadata["Name"])
    path = folder / f"{name}-{one.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in one.files or ():
            ours = ".." not in file.parts and file.name not in INSTALLERS_OWN
            source = Path(str(one.locate_file(file)))
            if ours and file.suffix == ".pyc":
                archive.writestr(str(file), timeless(source.read_bytes()))
            elif ours:
                archive.write(source, str(file))
    return path


def timeless(compiled: bytes) -> bytes:
    """A compiled file (PEP 552) that serves whatever the date of its source: hosts need not compile all again."""
    return compiled[:4] + (1).to_bytes(4, "little") + bytes(8) + compiled[16:]


def wheelhouse(folder: Path, *names: str) -> None:
    """A folder with the wheels of these distributions and of all that they need: enough for `pip --find-links`."""
    folder.mkdir()
    for one in closure(names).values():
        pack(one, folder)
