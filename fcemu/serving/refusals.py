"""Why was a request refused? Refusals are kept in a file, so that `fcemu explain` can show them later."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from fcemu.journal import InvocationEnded, Record

_LARGEST = 1_000_000
"""Largest size of the file in bytes. Then it becomes the previous file and a new one begins."""


class Refusals:
    """The refused requests of all runs, newest last, at most about 2 MB. Only the user can read the files.

    Args:
        folder: the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "refusals.jsonl"
        self._previous = folder / "refusals.previous.jsonl"

    def keep(self, record: Record) -> None:
        """Append a record to the file if it is a refusal.

        Raises:
            OSError: the file cannot be written.
        """
        if not isinstance(record, InvocationEnded) or record.error_code is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_size > _LARGEST:
                self._file.replace(self._previous)
        line = json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n"
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(fd)

    def find(self, request_id: str) -> InvocationEnded | None:
        """The refusal with this request id; None if it is not, or no longer, in the files."""
        for file in (self._file, self._previous):
            with contextlib.suppress(FileNotFoundError):
                for line in reversed(file.read_text().splitlines()):
                    with contextlib.suppress(ValueError, TypeError):
                        fields = json.loads(line)
                        if fields["request_id"] == request_id:
                            return InvocationEnded(**fields)
        return None


def explained(record: InvocationEnded) -> str:
    """A refusal in words: the request, the answer, the reason and the remedy."""
    when = datetime.fromtimestamp(record.wall_time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"{record.method} {record.target} to {record.function or 'no function'}, {when}",
        f"answer: {record.status} {record.error_code}",
        f"reason: {record.reason}",
    ]
    if record.remedy:
        lines.append(f"remedy: {record.remedy}")
    return "\n".join(lines)
