"""The thread in which a kit runs its emulator."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from fcemu.testing import loop
from fcemu.testing.loop import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """A thread with a running loop."""
    with contextlib.ExitStack() as stack:
        thread = LoopThread("test")
        stack.callback(lambda: thread.stop() if thread.running else None)
        yield thread


def test_call_returns_the_result(thread: LoopThread) -> None:
    """`call` returns what a function returns, and awaits it if it is awaitable."""

    async def later() -> int:
        await asyncio.sleep(0)
        return 2

    assert (thread.call(lambda: 1), thread.call(later)) == (1, 2)


def test_call_raises_what_the_function_raises(thread: LoopThread) -> None:
    """An exception of the function reaches the caller."""
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0)


def test_stopped_loop_takes_no_work(thread: LoopThread) -> None:
    """After `stop` the loop does not run any more, and says so."""
    thread.stop()
    assert not thread.running
    with pytest.raises(RuntimeError, match="has been stopped"):
        thread.call(lambda: 1)


def test_idle_loop_has_handled_all_that_it_received(thread: LoopThread) -> None:
    """`idle` waits until callbacks that start other callbacks have run, and data that arrived has been read."""
    seen: list[str] = []
    ours, theirs = socket.socketpair()

    def chain(left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(chain, left - 1)
        else:
            seen.append("callbacks")

    async def check() -> list[str]:
        asyncio.get_running_loop().add_reader(ours, lambda: seen.append(ours.recv(9).decode()))
        theirs.send(b"data")
        chain(100)
        await thread.idle()
        asyncio.get_running_loop().remove_reader(ours)
        return sorted(seen)

    with ours, theirs:
        assert thread.call(check) == ["callbacks", "data"]


def test_idle_loop_may_have_timers(thread: LoopThread) -> None:
    """A timer that is not due does not keep `idle` from returning."""
    due: list[bool] = []

    async def check() -> bool:
        timer = asyncio.get_running_loop().call_later(3600, due.append, True)
        await thread.idle()
        timer.cancel()
        return bool(due)

    assert thread.call(check) is False


def test_busy_loop_is_not_waited_for_endlessly(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that always has something to do is never idle, and `idle` returns all the same."""
    monkeypatch.setattr(loop, "_BUSY", 0.05)

    async def check() -> bool:
        async def forever() -> None:
            while True:
                await asyncio.sleep(0)

        busy = asyncio.create_task(forever())
        await thread.idle()
        return busy.cancel()

    assert thread.call(check)
