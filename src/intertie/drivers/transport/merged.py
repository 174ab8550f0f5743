"""News from several sources as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

from intertie.model.errors import IntertieError
from intertie.model.items import Key

PAUSE = 5.0
"""Seconds before news is asked for again where it ended."""

Source = Callable[[], AsyncIterator[Key]]


async def merged(sources: Collection[Source]) -> AsyncIterator[Key]:
    """What any of them tells. One whose news ends is asked again after a while: rounds look by themselves, too, and
    news only makes them look sooner."""
    news: asyncio.Queue[Key] = asyncio.Queue()
    tasks = [asyncio.create_task(_forward(source, news)) for source in sources]
    try:
        while True:
            yield await news.get()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forward(source: Source, news: asyncio.Queue[Key]) -> None:
    while True:
        try:
            async for each in source():
                news.put_nowait(each)
        except (IntertieError, OSError):
            pass
        await asyncio.sleep(PAUSE)
