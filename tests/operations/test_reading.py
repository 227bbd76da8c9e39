"""Reading what is committed: how the reader ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pointstream.operations import reading
from pointstream.operations.reading import CommittedReader


class Fetching:
    """A consumer with a fetcher that swallows so many cancellations, as the client's does when
    something was assigned to it a moment ago."""

    def __init__(self, swallowed: int) -> None:
        self._left = swallowed
        self._fetcher: asyncio.Task[None] | None = None
        self.stopped = False

    async def start(self) -> None:
        self._fetcher = asyncio.create_task(self._fetch())
        await asyncio.sleep(0)

    async def _fetch(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self._left:
                    return
                self._left -= 1

    async def stop(self) -> None:
        assert self._fetcher is not None
        self._fetcher.cancel()
        await self._fetcher
        self.stopped = True


@pytest.mark.parametrize("swallowed", [0, 1, 3])
def test_a_reader_that_found_nothing_to_read_ends(
    monkeypatch: pytest.MonkeyPatch, swallowed: int
) -> None:
    """However often the fetcher has to be told: a command that is done must end."""
    monkeypatch.setattr(reading, "_PATIENCE_SECONDS", 0.01)
    consumer, closed = Fetching(swallowed), []

    async def close() -> None:
        closed.append(True)

    async def scenario() -> None:
        reader: Any = CommittedReader("localhost:1")
        reader._consumer, reader._client = consumer, SimpleNamespace(close=close)
        await consumer.start()
        async with asyncio.timeout(5):
            await reader.stop()

    asyncio.run(scenario())

    assert consumer.stopped
    assert closed == [True]


def test_a_stop_that_fails_says_why() -> None:
    """And the other connection is closed all the same."""
    closed = []

    async def stop() -> None:
        raise OSError("gone")

    async def close() -> None:
        closed.append(True)

    async def scenario() -> None:
        reader: Any = CommittedReader("localhost:1")
        reader._consumer = SimpleNamespace(stop=stop)
        reader._client = SimpleNamespace(close=close)
        await reader.stop()

    with pytest.raises(OSError, match="gone"):
        asyncio.run(scenario())
    assert closed == [True]
