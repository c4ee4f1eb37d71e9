"""How records are printed."""

from __future__ import annotations

import io
import json
import os

import pytest

from fcemu.journal import Notice
from fcemu.serving.printer import Printer


async def test_records_are_printed_before_the_lines_that_follow() -> None:
    """Records wait a few milliseconds; a line that is printed meanwhile comes after them."""
    stream = io.StringIO()
    printer = Printer("text", stream)
    printer.record(Notice(0.0, "info", "first"))
    printer.record(Notice(0.0, "info", "second"))
    assert stream.getvalue() == ""
    printer.lines(["third"])
    assert stream.getvalue() == "00:00:00.000 info: first\n00:00:00.000 info: second\nthird\n"


@pytest.mark.parametrize(("log_format", "text"), [("text", True), ("json", False)])
async def test_format_decides_how_a_record_reads(log_format: str, text: bool) -> None:
    """A record is a line for people, or a JSON object that names its type."""
    stream = io.StringIO()
    printer = Printer(log_format, stream)
    assert printer.text is text
    printer.record(Notice(0.0, "info", "hello"))
    printer.lines()
    if text:
        assert stream.getvalue() == "00:00:00.000 info: hello\n"
    else:
        assert json.loads(stream.getvalue())["record"] == "Notice"


async def test_reader_that_goes_away_ends_only_the_printing() -> None:
    """A closed pipe raises nothing, neither now nor when the stream is closed."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        printer = Printer("text", stream)
        printer.lines(["nobody reads this"])
        printer.lines(["nor this"])
