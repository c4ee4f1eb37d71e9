"""How do records reach the terminal?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TextIO

from fcemu import report
from fcemu.journal import Record

_SOON = 0.005
"""Seconds until a record is printed: to write each on its own would cost more than to make it."""


class Printer:
    """Writes records to a stream; a reader that went away ends the printing, not the serving.

    What happens within a few milliseconds is written at once.
    """

    def __init__(self, log_format: str, stream: TextIO) -> None:
        self._as_lines = report.as_text if log_format == "text" else lambda record: [report.as_json(record)]
        self.text = log_format == "text"
        self._stream = stream
        self._open = True
        self._records: list[Record] = []

    def record(self, record: Record) -> None:
        """Print a record of the journal, soon."""
        if not self._records:
            asyncio.get_running_loop().call_later(_SOON, self.lines)
        self._records.append(record)

    def lines(self, lines: Iterable[str] = ()) -> None:
        """Print lines, at once, behind what is still to be printed."""
        records, self._records = self._records, []
        lines = [*(line for record in records for line in self._as_lines(record)), *lines]
        if not self._open or not lines:
            return
        try:
            self._stream.write("\n".join([*lines, ""]))
            self._stream.flush()
        except OSError:
            self._open = False
            # What is still buffered must not raise when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
