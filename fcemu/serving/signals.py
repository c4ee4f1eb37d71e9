"""What do SIGINT, SIGTERM and SIGHUP do?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from fcemu.errors import FcemuError


class Interrupted(FcemuError):
    """A signal came before the work was done. The exit code is 128 + its number, as in shells."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {signal.Signals(signum).name}")


class Signals:
    """Handles SIGINT, SIGTERM and SIGHUP: the first one asks for a stop, the second one exits at once.

    Attributes:
        stop: set by the first signal.
        came: the number of the last signal; 0 if there was none.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.came = 0
        self._send: Callable[[int], None] | None = None
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, self._on, signum)

    def pass_to(self, send: Callable[[int], None] | None) -> None:
        """Pass further signals, and one that has already come, to `send`; None handles them here again."""
        self._send = send
        if send is not None and self.came:
            send(self.came)

    def _on(self, signum: int) -> None:
        self.came = signum
        if self._send is not None:
            self._send(signum)
        elif self.stop.is_set():
            # The keeper notices the exit of this process and ends the functions.
            os._exit(128 + signum)
        self.stop.set()
