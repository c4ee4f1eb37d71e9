"""What do faults do to a WebSocket?

A socket with faults has pipes of its own kind, so faults cost nothing on the others. These pipes look at the frames: a
rule can count messages, or send a Close frame between two frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import partial

from fcemu.clock import Clock
from fcemu.faults.actions.action import ConnectionAction, SocketAction
from fcemu.faults.injected import Injected
from fcemu.faults.pace import Direction, Pace
from fcemu.faults.rules import Fault
from fcemu.gateway.frames import Boundaries, close_frame
from fcemu.gateway.tunnel import Pipe, Tunnel
from fcemu.journal import ClosedBy

_HELD_AT_MOST = 64 * 1024
"""Bytes that a slowed direction holds; with more its source is not read."""

_CLOSING_TAKES = 2.0
"""Seconds that a client has to answer a Close frame."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that resets a connection (RST)."""


class FaultyTunnel(Tunnel):
    """An established WebSocket that faults happen to."""

    __slots__ = ("injected", "lines")
    client: FaultyPipe
    function: FaultyPipe

    def __init__(
        self,
        client: asyncio.Transport,
        function: asyncio.Transport,
        clock: Clock,
        on_end: Callable[[int, ClosedBy], None],
        injected: Injected,
    ) -> None:
        super().__init__(client, function, clock, on_end)
        self.injected = injected
        self.lines: dict[Direction, Line] = {
            "toClient": Line(self, self.function, "toClient"),
            "toFunction": Line(self, self.client, "toFunction"),
        }

    def begin(self) -> None:
        """Let the faults without `after` happen."""
        self.injected.begin(self.fire)

    def fire(self, fault: Fault) -> None:
        """Let a fault happen."""
        self.injected.record(fault)
        action = fault.rule.action
        assert isinstance(action, (ConnectionAction, SocketAction))
        action.apply(SocketFault(self, fault))

    def line(self, pipe: Pipe) -> Line:
        """What comes from a side."""
        return self.lines["toClient" if pipe is self.function else "toFunction"]

    def _pipe(self, transport: asyncio.Transport, write: Callable[[bytes], None]) -> Pipe:
        return FaultyPipe(self, transport, write)


class SocketFault:
    """What one fault can do to a socket (`Socket` of faults/actions/action.py)."""

    def __init__(self, tunnel: FaultyTunnel, fault: Fault) -> None:
        self._tunnel = tunnel
        self._fault = fault

    def cut(self) -> None:
        self._tunnel.abort("fault")

    def crash(self) -> None:
        self._tunnel.injected.crash()

    def stall(self) -> None:
        for line in self._lines():
            line.swallow()

    def delay(self, seconds: float, jitter: float) -> None:
        for line in self._lines():
            line.delay(seconds, jitter, partial(self._tunnel.injected.draw, self._fault))

    def limit(self, bandwidth: float) -> None:
        for line in self._lines():
            line.pace.bandwidth = bandwidth

    def close(self, code: int) -> None:
        """Send the client a Close frame with the rule's name as its reason."""
        self._tunnel.stopped_by = "fault"
        self._tunnel.lines["toClient"].close(close_frame(code, self._fault.name), code)

    def finish(self) -> None:
        """Close both connections (FIN)."""
        self._tunnel.stopped_by = "fault"
        for pipe in (self._tunnel.client, self._tunnel.function):
            pipe.transport.close()

    def reset(self) -> None:
        """Reset both connections (RST)."""
        for pipe in (self._tunnel.client, self._tunnel.function):
            with contextlib.suppress(OSError):
                pipe.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._tunnel.abort("fault")

    def forget(self) -> None:
        for line in self._tunnel.lines.values():
            line.swallow()

    def _lines(self) -> list[Line]:
        """The directions that the rule names."""
        named = self._fault.rule.direction
        return [line for direction, line in self._tunnel.lines.items() if named in ("both", direction)]


class FaultyPipe(Pipe):
    """One side of a tunnel that faults happen to."""

    __slots__ = ("pass_on",)
    tunnel: FaultyTunnel

    def __init__(self, tunnel: FaultyTunnel, transport: asyncio.Transport, write: Callable[[bytes], None]) -> None:
        super().__init__(tunnel, transport, self._held_up)
        self.pass_on = write

    def _held_up(self, data: bytes) -> None:
        self.tunnel.injected.traffic()
        self.tunnel.line(self).take(data)

    def eof_received(self) -> bool:
        line = self.tunnel.line(self)
        if not line.queue:
            return super().eof_received()
        self.ended = True
        self.tunnel.side_gone(self)
        line.at_end = lambda: None if self.lost else self._pass_end()
        return True

    def _pass_end(self) -> None:
        if not super().eof_received():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        line = self.tunnel.line(self)
        if line.closed and not self.peer.lost:
            # The client has time to answer its Close frame: a connection that is closed under what the client still
            # sends is reset, and then the client may never read the frame.
            self.lost = True
            self.tunnel.side_gone(self)
            self.tunnel.side_lost(self)
        elif exc is None and not self.peer.lost and line.queue:
            self.lost = True
            self.tunnel.side_gone(self)
            line.at_end = self.peer.transport.close
            self.tunnel.side_lost(self)
        else:
            super().connection_lost(exc)


class Line:
    """One direction of a tunnel: bytes go on later, slower, or not at all.

    Attributes:
        swallows: nothing goes on any more, and neither side is notified.
        queue: the bytes on their way, each piece with when it is due.
        at_end: called once when the queue is empty.
        closed: it has ended with a Close frame.
    """

    def __init__(self, tunnel: FaultyTunnel, source: FaultyPipe, direction: Direction) -> None:
        self.pace = Pace()
        self.swallows = False
        self.queue: deque[tuple[float, bytes]] = deque()
        self.at_end: Callable[[], None] | None = None
        self.closed = False
        self._draw: Callable[[], float] = lambda: 0.5
        self._tunnel = tunnel
        self._source = source
        self._direction = direction
        self._boundaries = Boundaries()
        self._closing: bytes | None = None
        self._held = 0
        self._paused = False

    def swallow(self) -> None:
        """Pass nothing on any more."""
        self.swallows = True

    def delay(self, seconds: float, jitter: float, draw: Callable[[], float]) -> None:
        """Pass everything on later.

        Args:
            draw: draws a number for each piece, 0 to 1.
        """
        self.pace.delay, self.pace.jitter, self._draw = seconds, jitter, draw

    def take(self, data: bytes) -> None:
        """Bytes came from the source."""
        ends = self._boundaries.feed(data)
        if self._closing is not None and ends:
            self._push(data[: ends[0][0]])
            self._send_close()
            return
        at = 0
        messages = [end for end, ends_message in ends if ends_message]
        for before, fault in self._tunnel.injected.passed(self._direction, len(data), messages):
            self._push(data[at:before])
            at = max(at, before)
            self._tunnel.fire(fault)
        self._push(data[at:])

    def close(self, frame: bytes, code: int) -> None:
        """Send a Close frame as soon as no other frame is under way; nothing goes on after it."""
        self._closing = frame
        self._tunnel.close_code = code
        if self._boundaries.between_frames:
            self._send_close()

    def _send_close(self) -> None:
        assert self._closing is not None
        self.closed = True
        self._push(self._closing)
        client = self._source.peer.transport
        for line in self._tunnel.lines.values():
            line.swallow()
        if client.can_write_eof():
            self.at_end = client.write_eof
            if not self.queue:
                self._drained()
        function = self._source.transport
        now = self._tunnel.injected.clock.now()
        self._tunnel.injected.at(now + _CLOSING_TAKES, client.abort)
        function.close()

    def _push(self, data: bytes) -> None:
        if not data or self.swallows:
            return
        if self.pace.idle and not self.queue:
            self._source.pass_on(data)
            return
        injected = self._tunnel.injected
        now = injected.clock.now()
        self.queue.append((self.pace.due(len(data), now, self._draw()), data))
        self._held += len(data)
        if self._held > _HELD_AT_MOST and not self._paused and not self._source.lost:
            self._paused = True
            self._source.transport.pause_reading()
        if len(self.queue) == 1:
            injected.at(self.queue[0][0], self._go_on)

    def _go_on(self) -> None:
        injected = self._tunnel.injected
        now = injected.clock.now()
        while self.queue and self.queue[0][0] <= now:
            _, data = self.queue.popleft()
            self._held -= len(data)
            if not self._source.peer.lost and not (self.swallows and self._closing is None):
                self._source.pass_on(data)
        if self._paused and self._held <= _HELD_AT_MOST and not self._source.lost:
            self._paused = False
            self._source.transport.resume_reading()
        if self.queue:
            injected.at(self.queue[0][0], self._go_on)
        else:
            self._drained()

    def _drained(self) -> None:
        callback, self.at_end = self.at_end, None
        if callback is not None and not self._source.peer.lost:
            callback()
