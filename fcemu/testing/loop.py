"""Runs an event loop in a thread of its own, to which other threads hand work."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import selectors
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import TypeVar, overload

_T = TypeVar("_T")

_BUSY = 1.0
"""Seconds to wait for a loop to become idle; under constant traffic it never is."""


class _Selector(selectors.DefaultSelector):
    """A selector that knows when its event loop is idle: no callback is due, and no data has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[asyncio.Future[None]] = []

    def idle(self) -> asyncio.Future[None]:
        """A future that is done as soon as the running loop is idle."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A loop that has callbacks to run does not wait: its timeout is 0.
        if not self._waiting or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        if not (events := super().select(0)):
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
        return events


class LoopThread:
    """An event loop in a thread of its own. Unless stated otherwise, call its methods from other threads.

    Args:
        name: the name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._selector = _Selector()
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, args=[started], name=name, daemon=True)
        self._thread.start()
        self._loop = started.result()

    def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        # Do not ask the event loop policy for a loop: tests may have set a policy of their own.
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(self._selector)) as runner:
            started.set_result(runner.get_loop())
            runner.get_loop().run_forever()

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._thread.is_alive()

    def submit(self, work: Callable[[], Awaitable[_T]]) -> Future[_T]:
        """Call `work` in the thread, and await there what it returns.

        Raises:
            RuntimeError: the loop has been stopped, or this is its own thread.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("the emulator's own thread cannot wait for itself")
        if not self.running:
            raise RuntimeError("the emulator has been stopped")

        async def run() -> _T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    @overload
    def call(self, work: Callable[[], Awaitable[_T]]) -> _T: ...
    @overload
    def call(self, work: Callable[[], _T]) -> _T: ...
    def call(self, work: Callable[[], object]) -> object:
        """Call `work` in the thread, and wait for its result; if that is an awaitable, for the result of the awaitable.

        Raises:
            RuntimeError: as for `submit`.
        """

        async def run() -> object:
            result = work()
            return await result if inspect.isawaitable(result) else result

        future = self.submit(run)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError("the emulator has been stopped") from None
        except BaseException:
            future.cancel()  # if the test is interrupted
            raise

    async def idle(self) -> None:
        """Wait until the loop has handled everything that it has received. Call this in the loop's own thread."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BUSY):
                await self._selector.idle()

    def stop(self) -> None:
        """Stop the loop, and wait for its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
