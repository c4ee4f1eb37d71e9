"""Where do faults act on the bytes? On a socket and on an answer that a rule happens to; on no other.

A socket with faults gets pipes of another kind, so that nothing is in the way of one without. They look at frames where
a rule counts messages or wants a Close frame between two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable

from fcemu.faults.injected import Injected
from fcemu.faults.pace import Direction, Pace
from fcemu.faults.rules import Fault
from fcemu.gateway.frames import Boundaries, close_frame
from fcemu.gateway.tunnel import Pipe, Tunnel

_HELD_AT_MOST = 64 * 1024
"""Bytes that a slowed direction holds before its source is no longer read."""

_CLOSING_TAKES = 2.0
"""Seconds that a client has to answer a Close frame."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that ends a connection with RST."""


# ---- sockets


class FaultyTunnel(Tunnel):
    """An established WebSocket that something happens to."""

    __slots__ = ("_idle", "_last", "injected", "lines")

    def begin(self, injected: Injected) -> None:
        """Both sides are joined: what has no `after` happens now."""
        self.injected = injected
        assert isinstance(self.client, FaultyPipe)
        assert isinstance(self.function, FaultyPipe)
        self.lines: dict[Direction, Line] = {
            "toClient": Line(self, self.function, "toClient"),
            "toFunction": Line(self, self.client, "toFunction"),
        }
        self._last = injected.clock.now()
        self._idle = [fault for fault in injected.happening if fault.rule.idle is not None]
        for fault in self._idle:
            self._watch(fault)
        injected.burn(self.fire, later=lambda fault: fault.rule.idle is not None)

    def pipe_received(self, pipe: Pipe, data: bytes) -> None:
        """Bytes came from one side."""
        self._last = self.injected.clock.now()
        self.lines["toClient" if pipe is self.function else "toFunction"].take(data)

    def held(self, pipe: Pipe) -> bool:
        """Whether bytes of a side are still on their way."""
        return bool(self.lines["toClient" if pipe is self.function else "toFunction"].queue)

    def when_drained(self, pipe: Pipe, callback: Callable[[], None]) -> None:
        """Call back when they have all gone on."""
        self.lines["toClient" if pipe is self.function else "toFunction"].at_end = callback

    def fire(self, fault: Fault) -> None:
        """Carry a fault out."""
        self.injected.record(fault)
        rule = fault.rule
        lines = [line for direction, line in self.lines.items() if rule.direction in ("both", direction)]
        match rule.action:
            case "cut":
                self.abort("fault")
            case "crash":
                self.injected.crash()
            case "stall":
                for line in lines:
                    line.swallows = True
            case "delay":
                for line in lines:
                    line.fault, line.pace.delay, line.pace.jitter = fault, rule.delay or 0.0, rule.jitter or 0.0
            case "bandwidth":
                for line in lines:
                    line.pace.bandwidth = rule.bandwidth or 0.0
            case "close":
                assert rule.close is not None
                self.stopped_by = "fault"
                self.lines["toClient"].close(close_frame(rule.close, fault.name), rule.close)

    def _watch(self, fault: Fault) -> None:
        """Look again when the connection would have been idle for long enough."""
        idle = fault.rule.idle
        assert idle is not None
        self.injected.at(self._last + idle.after, lambda: self._look(fault))

    def _look(self, fault: Fault) -> None:
        idle = fault.rule.idle
        assert idle is not None
        if self._last + idle.after > self.injected.clock.now():
            self._watch(fault)
            return
        self.injected.record(fault)
        match idle.mode:
            case "blackhole":
                for line in self.lines.values():
                    line.swallows = True
            case "fin":
                self.stopped_by = "fault"
                for pipe in (self.client, self.function):
                    pipe.transport.close()
            case "rst":
                for pipe in (self.client, self.function):
                    with contextlib.suppress(OSError):
                        pipe.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self.abort("fault")


class FaultyPipe(Pipe):
    """One side of a tunnel that something happens to."""

    __slots__ = ("pass_on",)
    tunnel: FaultyTunnel

    def __init__(self, tunnel: FaultyTunnel, transport: asyncio.Transport, write: Callable[[bytes], None]) -> None:
        super().__init__(tunnel, transport, self._held_up)
        self.pass_on = write

    def _held_up(self, data: bytes) -> None:
        self.tunnel.pipe_received(self, data)

    def eof_received(self) -> bool:
        if not self.tunnel.held(self):
            return super().eof_received()
        self.ended = True
        self.tunnel.side_gone(self)
        self.tunnel.when_drained(self, lambda: None if self.lost else self._pass_end())
        return True

    def _pass_end(self) -> None:
        if not super().eof_received():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and not self.peer.lost and self.tunnel.held(self):
            self.lost = True
            self.tunnel.side_gone(self)
            self.tunnel.when_drained(self, self.peer.transport.close)
            self.tunnel.side_lost(self)
        else:
            super().connection_lost(exc)


class Line:
    """What goes one way through a tunnel: later, slower, or not at all.

    Attributes:
        swallows: nothing goes on any more, and nobody is told.
        queue: what is on its way: when it is due, and the bytes.
        at_end: called once when the queue is empty.
    """

    def __init__(self, tunnel: FaultyTunnel, source: FaultyPipe, direction: Direction) -> None:
        self.pace = Pace()
        self.fault: Fault | None = None
        self.swallows = False
        self.queue: deque[tuple[float, bytes]] = deque()
        self.at_end: Callable[[], None] | None = None
        self._tunnel = tunnel
        self._source = source
        self._direction = direction
        self._boundaries = Boundaries()
        self._closing: bytes | None = None
        self._held = 0
        self._paused = False

    def take(self, data: bytes) -> None:
        """Bytes came from the source."""
        ends = self._boundaries.feed(data)
        if self._closing is not None and ends:
            self._push(data[: ends[0][0]])
            self._send_close()
            return
        at = 0
        messages = [end for end, ends_message in ends if ends_message]
        for behind, fault in self._tunnel.injected.passed(self._direction, len(data), messages):
            self._push(data[at:behind])
            at = max(at, behind)
            self._tunnel.fire(fault)
        self._push(data[at:])

    def close(self, frame: bytes, code: int) -> None:
        """Send a Close frame as soon as no other frame is under way; nothing goes on behind it."""
        self._closing = frame
        self._tunnel.close_code = code
        if self._boundaries.between_frames:
            self._send_close()

    def _send_close(self) -> None:
        assert self._closing is not None
        self._push(self._closing)
        client = self._source.peer.transport
        for line in self._tunnel.lines.values():
            line.swallows = True
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
        self.queue.append((self.pace.due(len(data), now, injected.chance(self.fault)), data))
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
