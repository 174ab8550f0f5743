"""`intertie demo`: stage, story, report; then serve until told to stop. The exit code is interface.md's."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from intertie.cli.problem import as_json
from intertie.demo import report
from intertie.demo.abort import Abort
from intertie.demo.control import Control, Request
from intertie.demo.report import Progress, Result
from intertie.demo.sites import chosen
from intertie.demo.stage import AGENT, Stage
from intertie.demo.state import Serving
from intertie.demo.story import Story, unanswered
from intertie.model.errors import IntertieError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asks for."""

    sites: int = 3
    port: int = 7575
    transport: str = ""
    check: bool = False
    json: bool = False
    agent: tuple[str, ...] = AGENT


class Stopped(KeyboardInterrupt):
    """A signal asks for the end. Not an Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _be_deaf() -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


@contextmanager
def _stoppable() -> Iterator[None]:
    """The first signal stops; further ones are ignored, so that the clearing away is done to its end."""

    def stop(number: int, _frame: FrameType | None) -> None:
        _be_deaf()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(wish: Wish) -> int:
    """The demo from beginning to end. Abort with the reason when it cannot be told to its end."""
    result = Result()
    progress = Progress(result)
    serving = False
    try:
        with _stoppable(), _stage(wish, progress) as stage:
            _tell(wish, stage, result, progress)
            stage.write_serving(Serving(pid=os.getpid(), sites=tuple(result.sites), hosts=tuple(result.hosts)))
            if not wish.check:
                serving = True
                _serve(wish, stage, result, progress)
    except Stopped as stopped:
        progress.say(f"{signal.Signals(stopped.number).name}: all is cleared away")
        return 0 if serving else 1
    return 0 if result.ok else 1


@contextmanager
def _stage(wish: Wish, progress: Progress) -> Iterator[Stage]:
    stage = Stage(chosen(wish.sites), wish.port, wish.agent)
    try:
        with progress.step(f"backbone and namespaces of {wish.sites} sites"):
            stage.open()
        yield stage
    finally:
        try:
            _be_deaf()
        finally:
            stage.close()


def _tell(wish: Wish, stage: Stage, result: Result, progress: Progress) -> None:
    """The story, and for `--check` its result on stdout, also when it stopped early."""
    try:
        Story(stage, result, progress, wish.transport).tell()
    finally:
        if wish.check:
            if not wish.json and any(joined.pairs for joined in result.vpns):
                report.print_table(result)
            print(report.check_line(result), flush=True)
    if not result.ok:
        raise Abort("not every pair answered", hint="\n".join(unanswered(result)))


def _serve(wish: Wish, stage: Stage, result: Result, progress: Progress) -> None:
    """Say that it is up, then tell what happens to agents until a signal comes."""
    if wish.json:
        print(report.serving_line(result), flush=True)
    else:
        report.print_serving(result)
    with Control(stage.control) as watching:
        watching.ask(Request(do="watch"))
        while True:
            select.select([watching.socket], [], [])
            told = watching.receive()
            if told.event == "exit":
                how = f"by {signal.Signals(-told.status).name}" if told.status < 0 else f"with {told.status}"
                progress.say(f"the agent of {told.site} has ended {how}; {report.command()} demo start {told.site}")


def failed(abort: Abort, *, json: bool = False) -> int:
    """Say on stderr why, as every other command does; the exit code."""
    if json:
        print(as_json(IntertieError(abort.detail, code=abort.problem, hint=abort.hint)), file=sys.stderr)
        return abort.code
    print(f"error: {abort.detail}", file=sys.stderr)
    for line in abort.hint.splitlines():
        print(f"hint: {line}", file=sys.stderr)
    return abort.code
