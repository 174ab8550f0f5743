"""Worker processes that play stories. A worker that dies or hangs is reported with what it was doing, and replaced.

Each worker is a fresh interpreter (spawned, nothing inherited), gets one job at a time and knows nothing of the
others. Ctrl-C is the parent's: workers do not hear it, and are ended when the parent leaves.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")

SPAWN = get_context("spawn")
RUBBISH = 200_000
"""Objects made, less those gone, after which a worker looks for cycles."""
BIRTH = 120.0
"""Seconds that an interpreter may take to start on a loaded machine; they are not the job's."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that came to no result, and why."""

    why: str


@dataclass(slots=True)
class _Worker(Generic[J]):
    process: BaseProcess
    pipe: Connection
    job: J | None = None
    until: float = 0.0
    """When patience with its job ends."""
    born: bool = False


class Crew(Generic[J, R]):
    """`size` processes that do `work`, a function of a module's top level. A job may take `patience` seconds."""

    def __init__(self, size: int, work: Callable[[J], R], patience: float) -> None:
        self._size = size
        self._work = work
        self._patience = patience
        self._workers: list[_Worker[J]] = []

    def run(self, jobs: Iterator[J]) -> Iterator[tuple[J, R | Lost]]:
        """Each job with its result, in the order in which they end. Jobs are drawn when somebody is free to do them,
        so their iterator decides when it is enough."""
        try:
            while True:
                self._hand_out(jobs)
                if not any(w.job is not None for w in self._workers):
                    return
                yield from self._ended()
        finally:
            for worker in self._workers:
                _end(worker)
            self._workers.clear()

    def _hand_out(self, jobs: Iterator[J]) -> None:
        free = [w for w in self._workers if w.job is None]
        while free or len(self._workers) < self._size:
            job = next(jobs, None)
            if job is None:
                return
            worker = free.pop() if free else self._hire()
            worker.job = job
            worker.until = monotonic() + (self._patience if worker.born else max(self._patience, BIRTH))
            worker.pipe.send(job)

    def _hire(self) -> _Worker[J]:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=_serve, args=(theirs, self._work), daemon=True)
        process.start()
        theirs.close()
        worker: _Worker[J] = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _ended(self) -> Iterator[tuple[J, R | Lost]]:
        """Waits until something is heard of a worker, or for the first whose time is over: the jobs that ended."""
        busy = [w for w in self._workers if w.job is not None]
        left = min(w.until for w in busy) - monotonic()
        heard = wait([w.pipe for w in busy], timeout=max(left, 0.0))
        for worker in busy:
            job = worker.job
            assert job is not None
            if worker.pipe in heard:
                result = self._result(worker)
                if worker.job is None:
                    yield job, result
            elif monotonic() >= worker.until:
                self._dismiss(worker)
                yield job, Lost(f"no result after {self._patience:g} s")

    def _result(self, worker: _Worker[J]) -> R | Lost:
        """What a worker says: that it is there, the first time; then results."""
        try:
            said: R = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            self._dismiss(worker)
            return Lost(f"the worker ended with {worker.process.exitcode}")
        if worker.born:
            worker.job = None
        else:
            worker.born, worker.until = True, monotonic() + self._patience
        return said

    def _dismiss(self, worker: _Worker[J]) -> None:
        _end(worker)
        worker.job = None
        self._workers.remove(worker)


def _end(worker: _Worker[J]) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()


def _serve(pipe: Connection, work: Callable[[J], R]) -> None:
    """A worker's life; it ends with the parent. What `work` raises ends it too, with a traceback on stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A play makes cycles (tasks, frames) and leaves them. Looking for them all the time costs a tenth of its time;
    # never to look lets thirty days of silence fill the memory.
    gc.freeze()
    gc.set_threshold(RUBBISH, 20, 20)
    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        pipe.send(work(job))
        gc.collect()
