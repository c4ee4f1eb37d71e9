"""The answer of an instance: its head, and the end of its body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcemu.errors import FCError, Refusal
from fcemu.gateway.response import Body, ResponseHead, parse_head

CHUNKED = parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_head_is_parsed_as_it_was_sent() -> None:
    """Status, reason and header pairs keep their order, case and duplicates."""
    head = parse_head(b"HTTP/1.1 404 Not here\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    assert head == ResponseHead(404, b"Not here", ((b"X-A", b"1"), (b"x-a", b"2")))
    assert head.values(b"x-a") == [b"1", b"2"]


@pytest.mark.parametrize(
    "raw",
    [
        b"HELLO\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_head_that_is_no_http_is_a_bad_response(raw: bytes) -> None:
    """An ambiguous or invalid head is 502 BadResponse."""
    with pytest.raises(FCError) as caught:
        parse_head(raw)
    assert (caught.value.status, caught.value.code) == (502, "BadResponse")


def test_body_of_known_length_passes_unchanged_and_ends_there() -> None:
    """A body ends after its length; further bytes are surplus and are dropped."""
    body = Body(ResponseHead(200, b"OK", ((b"Content-Length", b"5"),)), "GET", rechunk=True)
    assert body.feed(b"abc") == b"abc"
    assert not body.done
    assert body.feed(b"deHTTP/1.1 200 OK") == b"de"
    assert body.done
    assert body.surplus


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answer_without_a_body_is_done_at_once(method: str, status: int) -> None:
    """HEAD, 204 and 304 have no body, whatever their headers say."""
    body = Body(ResponseHead(status, b"", ((b"Content-Length", b"5"),)), method, rechunk=True)
    assert body.done
    assert body.feed(b"x") == b""
    assert body.surplus


def test_chunks_are_read_and_chunked_anew() -> None:
    """Chunks of the instance become chunks of ours; extensions go, trailers stay."""
    body = Body(CHUNKED, "GET", rechunk=True)
    assert body.feed(b"3;x=y\r\nabc\r\n") == b"3\r\nabc\r\n"
    assert body.feed(b"0\r\nX-Sum: 1\r\nX-Fc-Forged: 2\r\n\r\n") == b"0\r\nX-Sum: 1\r\n\r\n"
    assert body.done
    assert not body.surplus


def test_client_of_http10_gets_the_chunks_contents() -> None:
    """A client of HTTP/1.0 gets the content of the chunks."""
    body = Body(CHUNKED, "GET", rechunk=False)
    assert body.feed(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") == b"abcde"


def test_second_response_behind_chunks_does_not_pass() -> None:
    """Bytes after the last chunk are surplus."""
    body = Body(CHUNKED, "GET", rechunk=True)
    assert body.feed(b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") == b"0\r\n\r\n"
    assert body.done
    assert body.surplus


def test_broken_chunk_is_a_bad_response() -> None:
    """An invalid chunk size is 502 BadResponse."""
    with pytest.raises(FCError):
        Body(CHUNKED, "GET", rechunk=True).feed(b"xyz\r\n")


def test_end_of_connection_ends_a_body_without_length() -> None:
    """Without a length, the body ends with the connection, and a client of HTTP/1.1 gets chunks."""
    body = Body(ResponseHead(200, b"OK", ()), "GET", rechunk=True)
    assert body.feed(b"abc") == b"3\r\nabc\r\n"
    assert body.end() == b"0\r\n\r\n"
    assert body.until_close


def test_end_of_connection_cuts_a_body_of_known_length_short() -> None:
    """A body that ends before its length is incomplete."""
    body = Body(ResponseHead(200, b"OK", ((b"Content-Length", b"5"),)), "GET", rechunk=True)
    body.feed(b"abc")
    assert body.end() is None


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_chunks_survive_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    """However the network cuts the bytes, the client gets the same body."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    body = Body(CHUNKED, "GET", rechunk=False)
    got = b""
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        got += body.feed(wire[:size])
        wire = wire[size:]
    assert got == b"".join(parts)
    assert body.done
    assert not body.surplus


def test_head_of_another_protocol_is_a_bad_response() -> None:
    """What is no HTTP/1 response head is 502."""
    for raw in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"):
        with pytest.raises(FCError) as caught:
            parse_head(raw)
        assert caught.value.refusal is Refusal.BAD_RESPONSE


def test_tap_sees_the_body_without_its_framing() -> None:
    """A tap gets the bytes of the body, whether they came with a length, in chunks, or until the end."""
    chunked = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    until_close = ResponseHead(200, b"OK", ())
    length = ResponseHead(200, b"OK", ((b"Content-Length", b"5"),))
    for head, wire in ((CHUNKED, chunked), (length, b"abcde!"), (until_close, b"abcde")):
        seen: list[bytes] = []
        Body(head, "GET", rechunk=True, tap=seen.append).feed(wire)
        assert b"".join(seen) == b"abcde"


def test_body_that_has_ended_stays_ended() -> None:
    """The end of the connection after the body's end adds nothing, and bytes after it are surplus."""
    body = Body(ResponseHead(200, b"OK", ((b"Content-Length", b"3"),)), "GET", rechunk=True)
    assert body.feed(b"abc") == b"abc"
    assert body.end() == b""
    assert body.feed(b"x") == b""
    assert body.surplus


def test_second_response_after_a_chunked_one_is_surplus() -> None:
    """A response that follows the last chunk does not reach the client."""
    body = Body(CHUNKED, "GET", rechunk=True)
    assert body.feed(b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") == b"0\r\n\r\n"
    assert body.surplus
