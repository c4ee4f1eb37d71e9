"""How are records printed?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TextIO

from fcemu import report
from fcemu.journal import Record

_SOON = 0.005
"""Seconds until a record is printed. One write for each record would cost more than making the record."""


class Printer:
    """Prints records to a stream. If its reader goes away, printing ends and serving continues.

    Records within a few milliseconds are written together.

    Args:
        log_format: text or json.

    Attributes:
        text: whether the format is text.
    """

    def __init__(self, log_format: str, stream: TextIO) -> None:
        self._as_lines = report.as_text if log_format == "text" else lambda record: [report.as_json(record)]
        self.text = log_format == "text"
        self._stream = stream
        self._open = True
        self._records: list[Record] = []

    def record(self, record: Record) -> None:
        """Print a record within a few milliseconds."""
        if not self._records:
            asyncio.get_running_loop().call_later(_SOON, self.lines)
        self._records.append(record)

    def lines(self, lines: Iterable[str] = ()) -> None:
        """Print pending records, then these lines, now."""
        records, self._records = self._records, []
        lines = [*(line for record in records for line in self._as_lines(record)), *lines]
        if not self._open or not lines:
            return
        try:
            self._stream.write("\n".join([*lines, ""]))
            self._stream.flush()
        except OSError:
            self._open = False
            # The buffered rest must not raise when the interpreter exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
