"""An event loop whose clock jumps to the next timer when nothing is ready: a day of heartbeats in seconds.

It knows no sockets, no threads and no real time, so what runs on it runs the same way every time. What is made in a
`Process` belongs to it: a process can be killed between any two of its instructions, as by SIGKILL (none of its
code runs any more, not even `finally`), and paused, as by SIGSTOP.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Process:
    """What dies and stands still together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused = False
        self.context: Context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.at_death: list[Callable[[], object]] = []
        self.failed: list[BaseException] = []
        """What its tasks ended with; asyncio would say so much later, or never."""
        self._held: list[Due] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as this process."""
        task = asyncio.get_running_loop().create_task(work, context=self.context.copy())
        self._keep(task)
        return task

    def kill(self) -> None:
        """Nothing of it runs from here on."""
        self.dead = True
        self._held.clear()
        for call in self.at_death:
            call()
        self.at_death.clear()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """It goes on with all that came meanwhile, timers included."""
        self.paused = False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.ready.extend(self._held)
        self._held.clear()

    def hold(self, due: Due) -> None:
        """While it is paused."""
        self._held.append(due)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done, context=_NOBODY)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed.append(error)

    def bury(self) -> None:
        """After a run: take what is left of a dead process apart, so that nothing of it is found by accident."""
        for task in list(self._tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            assert isinstance(coroutine, Coroutine)
            with suppress(RuntimeError):  # from a `finally` that awaits: nobody is there to wait for
                coroutine.close()
        self._tasks.clear()


Due = tuple[Process | None, events.Handle]
"""A callback whose time has come, and whose it is."""

_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
_NOBODY = Context()


def current() -> Process | None:
    """The process whose code runs now; None outside all of them."""
    return _PROCESS.get()


async def die(process: Process) -> None:
    """Kill a process; if it is the one that runs, this never returns."""
    process.kill()
    if current() is process:
        await asyncio.get_running_loop().create_future()


class VirtualLoop(asyncio.AbstractEventLoop):
    """asyncio in virtual time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        """Callbacks that ran."""
        self.ready: deque[Due] = deque()
        self._timers: list[tuple[float, int, Process | None, events.TimerHandle]] = []
        self._order = 0
        self._closed = False
        self._running = False
        self.faults: list[dict[str, Any]] = []
        """What nobody awaited or caught, as asyncio's exception handlers are told."""

    # ── asyncio.AbstractEventLoop ──────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """There is nothing to show that a trace does not show better."""

    def get_task_factory(self) -> None:
        """anyio, which streams of the API run on, asks."""
        return None

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self.ready.append((_PROCESS.get() if context is None else context.get(_PROCESS), handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        timer = events.TimerHandle(when, callback, args, self, context)
        self._order += 1
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        heappush(self._timers, (when, self._order, process, timer))
        return timer

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is not None:
            process._keep(task)
        return task

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]
        task = asyncio.ensure_future(future, loop=self)
        self._running = True
        events._set_running_loop(self)
        try:
            while not task.done():
                self._run_ready()
                if not task.done():
                    self._move_on()
        finally:
            events._set_running_loop(None)
            self._running = False
        return task.result()

    def close(self) -> None:
        self._closed = True
        self.ready.clear()
        self._timers.clear()

    # ── The clock ──────────────────────────────────────────────────────────────────────────────────────────

    def _run_ready(self) -> None:
        ready = self.ready
        while ready:
            due = process, handle = ready.popleft()
            if handle._cancelled:
                continue
            if process is not None and process.paused:
                process.hold(due)
            elif process is None or not process.dead:
                self.events += 1
                handle._run()

    def _move_on(self) -> None:
        """Time moves to the next timer."""
        timers = self._timers
        while timers and timers[0][3]._cancelled:
            heappop(timers)
        if not timers:
            raise RuntimeError("everything waits for something that never comes")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            _, _, process, timer = heappop(timers)
            self.ready.append((process, timer))


class VirtualClock:
    """The wall clock that belongs to the running loop; `skew` makes it wrong."""

    def __init__(self, skew: timedelta = timedelta()) -> None:
        self.skew = skew

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time()) + self.skew


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    loop = VirtualLoop()  # type: ignore[abstract]
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
