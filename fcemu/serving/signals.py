"""What do SIGINT, SIGTERM and SIGHUP mean?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from fcemu.errors import FcemuError


class Interrupted(FcemuError):
    """A signal came before the work was done; the exit code tells it as shells do."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__(f"ended by {signal.Signals(signum).name}")


class Signals:
    """What SIGINT, SIGTERM and SIGHUP mean: the first one stops, the next one ends everything at once.

    Attributes:
        stop: set by the first one.
        came: the number of the last one; 0 if there was none.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.came = 0
        self._send: Callable[[int], None] | None = None
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, self._on, signum)

    def pass_to(self, send: Callable[[int], None] | None) -> None:
        """From now on they are somebody else's, and so is the one that came already; None: ours again."""
        self._send = send
        if send is not None and self.came:
            send(self.came)

    def _on(self, signum: int) -> None:
        self.came = signum
        if self._send is not None:
            self._send(signum)
        elif self.stop.is_set():
            # The keeper sees the end of this process and ends every function's.
            os._exit(128 + signum)
        self.stop.set()
