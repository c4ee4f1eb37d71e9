"""Bytes in, events out: the table of the request reader, walked as a whole and by its rows."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path

import pytest

from fcemu.gateway import request_reader
from fcemu.gateway.request_reader import (
    BODY,
    CLOSED,
    HEAD,
    IDLE,
    LAST,
    SILENT_LIMIT,
    TRANSITIONS,
    UPGRADE,
    Event,
    Phase,
    RequestReader,
)
from fcemu.trigger.request import RequestHead

ROOT = Path(__file__).parent.parent.parent.parent


class Call(Enum):
    """What an owner calls, besides feeding bytes."""

    DECLINE = "decline_upgrade"
    CLOSE = "close"


DECLINE, CLOSE = Call
Step = bytes | Call


class Notes:
    """An owner that notes each event as a line, and parts of a body that follow each other as one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.heads: list[RequestHead] = []

    def on_head(self, head: RequestHead, keep_alive: bool) -> None:
        """Note a head: `POST /path`, `+ body` if one follows, and `last` if the connection carries no other."""
        self.heads.append(head)
        self.lines.append(f"{head.method} {head.target}{' + body' * head.has_body}{' last' * (not keep_alive)}")

    def on_body(self, part: bytes) -> None:
        """Note a part."""
        text = part.decode("latin-1")
        if self.lines[-1].startswith("body "):
            self.lines[-1] += text
        else:
            self.lines.append(f"body {text}")

    def on_end(self) -> None:
        """Note an end."""
        self.lines.append("end")

    def on_error(self, why: str) -> None:
        """Note an error."""
        self.lines.append(f"error {why}")


def run(steps: Sequence[Step]) -> tuple[Notes, Phase]:
    """The events of these steps, and the phase in which they leave the reader."""
    notes = Notes()
    reader = RequestReader(notes)
    for step in steps:
        if isinstance(step, bytes):
            reader.feed(step)
        elif step is DECLINE:
            reader.decline_upgrade()
        else:
            notes.lines.append(f"held {reader.close().decode('latin-1')}")
    return notes, reader.phase


def pieces(step: Step) -> Iterator[list[Step]]:
    """A step in two pieces, cut at every place, and byte by byte."""
    if isinstance(step, bytes):
        for at in range(1, len(step)):
            yield [step[:at], step[at:]]
        yield [step[at : at + 1] for at in range(len(step))]


HOST = b"Host: a\r\n"
LENGTH = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def get(fields: bytes = b"", *, line: bytes = b"GET / HTTP/1.1\r\n", host: bytes = HOST) -> bytes:
    """A head, its fields up to the caller."""
    return line + host + fields + b"\r\n"


def post(fields: bytes, body: bytes) -> bytes:
    """A request with a body, its framing up to the caller."""
    return get(fields, line=b"POST / HTTP/1.1\r\n") + body


HTTP10 = b"GET / HTTP/1.0\r\n"
CLOSES = b"Connection: close\r\n"

# name: steps → events, phase at the end
ROWS: dict[str, tuple[list[Step], list[str], Phase]] = {
    "nothing": ([], [], IDLE),
    "request": ([get()], ["GET /", "end"], IDLE),
    "half a head": ([b"GET / HTTP/1.1\r\nHo"], [], HEAD),
    "half a body": ([post(LENGTH, b"he")], ["POST / + body", "body he"], BODY),
    "length": ([post(LENGTH, b"hello") + NEXT], ["POST / + body", "body hello", "end", "GET /next", "end"], IDLE),
    "length of zero": ([post(b"Content-Length: 0\r\n", b"") + NEXT], ["POST /", "end", "GET /next", "end"], IDLE),
    "request in a body": (
        [post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED)],
        ["POST / + body", "body " + SMUGGLED.decode(), "end"],
        IDLE,
    ),
    "chunks": ([post(CHUNKED, b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n")], ["POST / + body", "body hello", "end"], IDLE),
    "empty chunked body": ([post(CHUNKED, b"0\r\n\r\n")], ["POST / + body", "end"], IDLE),
    "trailers": (
        [post(CHUNKED, b"5\r\nhello\r\n0\r\nHost: b\r\nX-T: 1\r\n\r\n") + NEXT],
        ["POST / + body", "body hello", "end", "GET /next", "end"],
        IDLE,
    ),
    "close in a trailer": ([post(CHUNKED, b"0\r\n%b\r\n" % CLOSES)], ["POST / + body", "end"], LAST),
    "pipelined": ([get() + NEXT + NEXT], ["GET /", "end", "GET /next", "end", "GET /next", "end"], IDLE),
    "line ends between requests": ([b"\r\n" + get() + b"\r\n\r\n" + NEXT], ["GET /", "end", "GET /next", "end"], IDLE),
    # whether the connection carries another request
    "close": ([get(CLOSES)], ["GET / last", "end"], LAST),
    "close, line ends": ([get(CLOSES) + b"\r\n\r\n"], ["GET / last", "end"], LAST),
    "close after a body": ([post(LENGTH + CLOSES, b"hello")], ["POST / + body last", "body hello", "end"], LAST),
    "HTTP/1.0": ([get(line=HTTP10)], ["GET / last", "end"], LAST),
    "HTTP/1.0, no Host": ([get(line=HTTP10, host=b"")], ["GET / last", "end"], LAST),
    "HTTP/1.0, keep-alive": ([get(b"Connection: keep-alive\r\n", line=HTTP10)], ["GET /", "end"], IDLE),
    # the target
    "absolute target": ([get(line=b"GET HTTP://b/x?y HTTP/1.1\r\n")], ["GET /x?y", "end"], IDLE),
    "absolute target, no path": ([get(line=b"GET http://b HTTP/1.1\r\n")], ["GET /", "end"], IDLE),
    "absolute target, only a query": ([get(line=b"GET http://b?y HTTP/1.1\r\n")], ["GET /?y", "end"], IDLE),
    "other scheme": ([get(line=b"GET ftp://b/ HTTP/1.1\r\n")], ["GET ftp://b/", "end"], IDLE),
    "asterisk": ([get(line=b"OPTIONS * HTTP/1.1\r\n")], ["OPTIONS *", "end"], IDLE),
    # upgrades
    "upgrade": ([get(WEBSOCKET)], ["GET /"], UPGRADE),
    "upgrade, bytes are held": ([get(WEBSOCKET) + b"\x81", NEXT], ["GET /"], UPGRADE),
    "upgrade accepted": ([get(WEBSOCKET) + b"ab", b"c", CLOSE, b"d"], ["GET /", "held abc"], CLOSED),
    "upgrade accepted, no bytes": ([get(WEBSOCKET), CLOSE], ["GET /", "held "], CLOSED),
    "upgrade declined": ([get(WEBSOCKET), DECLINE, NEXT], ["GET /", "GET /next", "end"], IDLE),
    "upgrade declined, bytes were held": (
        [get(WEBSOCKET) + NEXT, NEXT, DECLINE, NEXT],
        ["GET /", *["GET /next", "end"] * 3],
        IDLE,
    ),
    "upgrade declined, half a request was held": ([get(WEBSOCKET) + NEXT[:9], DECLINE], ["GET /"], HEAD),
    "two upgrades declined": ([get(WEBSOCKET) * 2, DECLINE, DECLINE, NEXT], ["GET /"] * 2 + ["GET /next", "end"], IDLE),
    "upgrade declined, then no HTTP": ([get(WEBSOCKET) + b"\r\n\0", DECLINE], ["GET /", "error"], CLOSED),
    "upgrade with a length": (
        [get(WEBSOCKET + LENGTH) + b"hello" + NEXT],
        ["GET / + body", "body hello", "end", "GET /next", "end"],
        IDLE,
    ),
    "upgrade with chunks": (
        [get(WEBSOCKET + CHUNKED) + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" + NEXT],
        ["GET / + body", "body hello", "end", "GET /next", "end"],
        IDLE,
    ),
    "upgrade with a broken body": (
        [get(WEBSOCKET + CHUNKED) + b"oops\r\n" + SMUGGLED],
        ["GET / + body", "error"],
        CLOSED,
    ),
    "upgrade with a body, close": (
        [get(b"Connection: upgrade, close\r\nUpgrade: websocket\r\n" + LENGTH) + b"hello"],
        ["GET / + body last", "body hello", "end"],
        LAST,
    ),
    "upgrade by POST": ([post(WEBSOCKET, b"")], ["POST /"], UPGRADE),
    "upgrade to something else": ([get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + NEXT], ["GET / last"], UPGRADE),
    "upgrade to something else with a body": (
        [get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH) + b"hello"],
        ["GET / + body last", "body hello", "end"],
        LAST,
    ),
    "Upgrade without Connection": ([get(b"Upgrade: websocket\r\n") + NEXT], ["GET /", "end", "GET /next", "end"], IDLE),
    "CONNECT": ([get(line=b"CONNECT b:80 HTTP/1.1\r\n") + SMUGGLED], ["CONNECT b:80 last"], UPGRADE),
    # errors of the reader
    "no Host": ([get(host=b"")], ["error no Host header"], CLOSED),
    "no Host, absolute target": ([get(host=b"", line=b"GET http://b/ HTTP/1.1\r\n")], ["error no Host header"], CLOSED),
    "two Hosts": ([get(HOST) + SMUGGLED], ["error more than one Host header"], CLOSED),
    "two Hosts in HTTP/1.0": ([get(HOST, line=HTTP10)], ["error more than one Host header"], CLOSED),
    "HTTP/2.0": ([get(line=b"GET / HTTP/2.0\r\n")], ["error HTTP/2.0 is not supported"], CLOSED),
    # errors of llhttp
    "bytes after the last request": ([get(CLOSES) + SMUGGLED], ["GET / last", "end", "error"], CLOSED),
    "bytes after the last body": (
        [get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH) + b"hello" + SMUGGLED],
        ["GET / + body last", "body hello", "end", "error"],
        CLOSED,
    ),
    "TLS": ([b"\x16\x03\x01\x02\x00\x01" + SMUGGLED], ["error"], CLOSED),
    "no request after one": ([get() + b"\0" + SMUGGLED], ["GET /", "end", "error"], CLOSED),
    "HTTP/0.9": ([b"GET /\r\n\r\n" + SMUGGLED], ["error"], CLOSED),
    "folded header": ([get(b"X-A: b\r\n c\r\n") + SMUGGLED], ["error"], CLOSED),
    "bare LF": ([b"GET / HTTP/1.1\nHost: a\n\n" + SMUGGLED], ["error"], CLOSED),
    "bare CR in a value": ([get(b"X-A: b\rTransfer-Encoding: chunked\r\n") + SMUGGLED], ["error"], CLOSED),
    "space before a colon": ([get(b"Content-Length : 5\r\n") + SMUGGLED], ["error"], CLOSED),
    "two lengths": ([post(LENGTH + LENGTH, b"hello") + SMUGGLED], ["error"], CLOSED),
    "length and chunks": ([post(LENGTH + CHUNKED, b"0\r\n\r\n") + SMUGGLED], ["error"], CLOSED),
    "chunks and length": ([post(CHUNKED + LENGTH, b"0\r\n\r\n") + SMUGGLED], ["error"], CLOSED),
    "signed length": ([post(b"Content-Length: +5\r\n", b"hello") + SMUGGLED], ["error"], CLOSED),
    "other coding": (
        [post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n") + SMUGGLED],
        ["POST / + body", "error"],
        CLOSED,
    ),
    "0x chunk": ([post(CHUNKED, b"0x5\r\nhello\r\n0\r\n\r\n") + SMUGGLED], ["POST / + body", "error"], CLOSED),
    "long chunk": (
        [post(CHUNKED, b"4\r\nhello\r\n0\r\n\r\n") + SMUGGLED],
        ["POST / + body", "body hell", "error"],
        CLOSED,
    ),
    # the owner closes
    "closed before a request": ([CLOSE, NEXT], ["held "], CLOSED),
    "closed in a head": ([NEXT[:9], CLOSE, NEXT[9:]], ["held "], CLOSED),
    "closed in a body": ([post(LENGTH, b"he"), CLOSE, b"llo" + NEXT], ["POST / + body", "body he", "held "], CLOSED),
    "closed after the last request": ([get(CLOSES), CLOSE, NEXT], ["GET / last", "end", "held "], CLOSED),
    "closed after an error": ([b"\0", CLOSE, CLOSE], ["error", "held ", "held "], CLOSED),
}

EMPTY_LINES = [b"\r\n" * SILENT_LIMIT]


def matches(lines: list[str], expected: list[str]) -> bool:
    """Whether these are the events, the wording of llhttp's errors left open."""
    found = [line.split()[0] if line.startswith("error") and "error" in expected else line for line in lines]
    return found == expected


@pytest.mark.parametrize(("steps", "events", "phase"), ROWS.values(), ids=ROWS)
def test_row(steps: list[Step], events: list[str], phase: Phase) -> None:
    """These bytes are these requests, and leave the reader in this phase."""
    notes, end = run(steps)
    assert matches(notes.lines, events), notes.lines
    assert end is phase


@pytest.mark.parametrize("steps", [row[0] for row in ROWS.values()], ids=ROWS)
def test_pieces_make_no_difference(steps: list[Step]) -> None:
    """The same events come in the same words, wherever the bytes are cut."""
    notes, phase = run(steps)
    for at, step in enumerate(steps):
        for cut in pieces(step):
            others, end = run([*steps[:at], *cut, *steps[at + 1 :]])
            assert (others.lines, others.heads, end) == (notes.lines, notes.heads, phase), cut


def test_every_transition_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows walk each transition of the table, and no other."""
    walked = set()

    class Noting(dict[Event, Phase]):
        def __init__(self, phase: Phase) -> None:
            super().__init__(TRANSITIONS[phase])
            self.phase = phase

        def __getitem__(self, event: Event) -> Phase:
            walked.add((self.phase, event))
            return super().__getitem__(event)

    monkeypatch.setattr(request_reader, "TRANSITIONS", {phase: Noting(phase) for phase in Phase})
    for steps, _, _ in ROWS.values():
        run(steps)
    run(EMPTY_LINES)
    assert walked == {(phase, event) for phase, row in TRANSITIONS.items() for event in row}


def test_every_phase_has_a_row() -> None:
    """The table has each phase once, and each but the first is reached."""
    assert list(TRANSITIONS) == list(Phase)
    assert {phase for row in TRANSITIONS.values() for phase in row.values()} == set(Phase)


def test_picture_is_the_table() -> None:
    """The diagram in the documentation shows the transitions of the table."""
    page = (ROOT / "docs" / "explanation" / "request-lifecycle.md").read_text()
    (picture,) = re.findall(r"```mermaid\n(stateDiagram-v2\n.*?)```", page, re.DOTALL)
    lines = [f"{phase.name} --> {to.name}: {event}" for phase, row in TRANSITIONS.items() for event, to in row.items()]
    assert [line.strip() for line in picture.splitlines()] == ["stateDiagram-v2", "[*] --> IDLE", *lines]


def test_head_is_as_it_was_sent() -> None:
    """Names, values, order and repetition are kept; white space around a value is not."""
    notes, _ = run([get(b"x-A:  b\t \r\nX-a:c\r\nempty:\r\n")])
    assert notes.heads == [RequestHead("GET", "/", ((b"Host", b"a"), (b"x-A", b"b"), (b"X-a", b"c"), (b"empty", b"")))]


def test_host_of_an_absolute_target_replaces_the_header() -> None:
    """The host of an absolute target comes first, and the header is gone."""
    notes, _ = run([get(b"X-A: b\r\n", line=b"GET http://b:8/x HTTP/1.1\r\n")])
    assert notes.heads == [RequestHead("GET", "/x", ((b"Host", b"b:8"), (b"X-A", b"b")))]


def test_trailers_are_no_headers() -> None:
    """Neither the request that has trailers nor the next one gets them."""
    notes, _ = run([post(CHUNKED, b"0\r\nX-T: 1\r\n\r\n") + NEXT])
    assert [head.first(b"x-t") for head in notes.heads] == [None, None]


@pytest.mark.parametrize(
    ("steps", "events"),
    [
        (EMPTY_LINES, []),
        ([b"GET / HTTP/1.1\r\nHost: a\r\nX: ", *[b"x" * 1000] * 66], []),
        ([b"GET /", *[b"x" * 1000] * 66], []),
        ([post(CHUNKED, b"1\r\nx\r\n0\r\n"), *[b"X: " + b"x" * 1000 + b"\r\n"] * 66], ["POST / + body", "body x"]),
        ([post(CHUNKED, b"1;"), *[b"x" * 1000] * 66], ["POST / + body"]),
    ],
    ids=["empty lines", "header", "target", "trailers", "chunk extension"],
)
def test_silence_has_a_limit(steps: list[Step], events: list[str]) -> None:
    """No more than 64 KB may arrive without a complete head or a part of a body."""
    notes, phase = run([*steps, NEXT])
    assert (notes.lines, phase) == ([*events, "error headers or trailers are larger than 65536 bytes"], CLOSED)


def test_each_head_and_each_part_breaks_the_silence() -> None:
    """A connection that carries more than 64 KB of heads and bodies goes on."""
    steps = [get(b"X: " + b"x" * 60_000 + b"\r\n"), post(LENGTH, b"he"), b"llo", post(CHUNKED, b"1\r\nx\r\n")]
    notes, phase = run(steps + [b"1\r\nx\r\n"] * 20_000)
    assert (len(notes.heads), phase) == (3, BODY)
    assert notes.lines[-1] == "body " + "x" * 20_001


def test_many_upgrades_with_bodies_in_one_piece() -> None:
    """One piece may hold any number of requests, each of which needs a parser of its own."""
    notes, phase = run([(get(WEBSOCKET + LENGTH) + b"hello") * 3000])
    assert (len(notes.heads), phase) == (3000, IDLE)
    assert set(notes.lines) == {"GET / + body", "body hello", "end"}


@pytest.mark.parametrize("step", [CLOSE, b"\0"], ids=["close", "error"])
def test_closed_reader_lets_go_of_its_owner(step: Step) -> None:
    """A connection that is over is freed at once, not by the next collection."""
    owner = Notes()
    gone = weakref.ref(owner)
    reader = RequestReader(owner)
    if isinstance(step, bytes):
        reader.feed(step)
    else:
        reader.close()
    del owner
    assert gone() is None


def test_only_an_upgrade_can_be_declined() -> None:
    """An event that has no row in a phase is a mistake of the caller."""
    with pytest.raises(KeyError):
        RequestReader(Notes()).decline_upgrade()
