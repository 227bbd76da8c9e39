"""What runs from `start` to `stop`, as a context manager: stopped also when its start failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["AsyncLifetime", "Lifetime"]


class Lifetime(ABC):
    """Started by `with` and stopped at its end."""

    @abstractmethod
    def start(self) -> None:
        """Start, and return when it runs."""

    @abstractmethod
    def stop(self) -> None:
        """Stop whatever of it runs; harmless when nothing does."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class AsyncLifetime(ABC):
    """Started by `async with` and stopped at its end."""

    @abstractmethod
    async def start(self) -> None:
        """Start, and return when it runs."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop whatever of it runs, also after a start that failed half-way."""

    async def finish(self) -> None:
        """What is left to do before the stop when all went well."""
        return

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.finish()
        finally:
            await self.stop()
