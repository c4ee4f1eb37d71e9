"""When small pieces are sent."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from fcemu.gateway.flow import Outbox


class Wire:
    """A transport that notes in a common list what is written, and by which transport."""

    def __init__(self, name: str, written: list[tuple[str, bytes]]) -> None:
        self.name = name
        self.closing = False
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append((self.name, data))

    def is_closing(self) -> bool:
        return self.closing


def two_wires() -> tuple[Outbox, Any, Any, list[tuple[str, bytes]]]:
    """An outbox, two transports to write to, and what was written to them."""
    written: list[tuple[str, bytes]] = []
    return Outbox(), cast(Any, Wire("a", written)), cast(Any, Wire("b", written)), written


async def test_small_pieces_go_out_at_the_end_of_the_round() -> None:
    """Small pieces written in one round of the loop are sent together after it, in order."""
    outbox, a, b, written = two_wires()
    outbox.write(a, b"1")
    outbox.write(b, b"2")
    outbox.write(a, b"3")
    assert written == []
    await asyncio.sleep(0)
    assert written == [("a", b"1"), ("b", b"2"), ("a", b"3")]
    outbox.write(b, b"4")
    await asyncio.sleep(0)
    assert written[3:] == [("b", b"4")]


async def test_large_piece_does_not_wait_and_overtakes_nothing() -> None:
    """A large piece is sent at once, after the small ones that were written before it."""
    outbox, a, b, written = two_wires()
    outbox.write(a, b"1")
    outbox.write(b, b"2")
    outbox.write(a, b"x" * 100_000)
    assert written == [("a", b"1"), ("b", b"2"), ("a", b"x" * 100_000)]
    await asyncio.sleep(0)
    assert len(written) == 3


async def test_nothing_is_written_to_what_is_closing() -> None:
    """A connection that closes before the end of the round gets nothing more."""
    outbox, a, b, written = two_wires()
    outbox.write(a, b"1")
    outbox.write(b, b"2")
    a.closing = True
    await asyncio.sleep(0)
    assert written == [("b", b"2")]
