"""The agent's log: one line a change, as logfmt or JSON, and the last lines of it kept for `intertie bundle`."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from intertie.agent import causes
from intertie.model.errors import Refused

VARIABLE = "INTERTIE_LOG"
KEPT = 2000
LONGEST = 4096
"""Characters of a line that are kept."""


class Ring:
    """The last lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT)

    def add(self, line: str) -> None:
        if line.strip():  # the end of a line comes by itself
            self._lines.append(line.rstrip("\n")[:LONGEST] + "\n")

    def lines(self) -> Sequence[str]:
        return tuple(self._lines)


class Lines:
    """Where lines of the log go. One that cannot be written (a full disk, a reader that left) is lost, and nothing
    else with it: what was to be logged has happened, and is to be answered."""

    def __init__(self, file: TextIO, ring: Ring | None = None) -> None:
        self._file = file
        self._ring = ring

    def write(self, text: str) -> int:
        if self._ring is not None:
            self._ring.add(text)
        with suppress(OSError):
            return self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


class _Others(logging.Handler):
    """What libraries log goes the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure(form: str, file: TextIO = sys.stderr) -> Ring:
    """Log to `file` from now on; `form` is logfmt or json (else Refused). The lines that are kept."""
    renderers: dict[str, structlog.typing.Processor] = {
        "logfmt": structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), bool_as_flag=False),
        "json": structlog.processors.JSONRenderer(ensure_ascii=False),
    }
    if form not in renderers:
        raise Refused(f"log: {form!r} is no form of a log", hint=f"logfmt or json, in site.toml or ${VARIABLE}")
    ring = Ring()
    logging.basicConfig(level=logging.WARNING, handlers=[_Others()], force=True)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            _caused,
            structlog.processors.format_exc_info,
            renderers[form],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Lines(file, ring))),
        cache_logger_on_first_use=False,
    )
    return ring


def _caused(_: object, __: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Every line says which request it is because of, if it is because of one."""
    for name, fact in causes.current().facts().items():
        facts.setdefault(name, fact)
    return facts
