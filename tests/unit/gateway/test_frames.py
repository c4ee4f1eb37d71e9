"""The code of a Close frame is found at the end of a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcemu.gateway import frames

CODES = st.one_of(
    st.sampled_from([1000, 1001, 1002, 1003, *range(1007, 1015)]), st.integers(min_value=3000, max_value=4999)
)
REASONS = st.text(max_size=123).filter(lambda reason: len(reason.encode()) <= 123)
KEYS = st.binary(min_size=4, max_size=4)


def close_frame(payload: bytes, key: bytes | None = None) -> bytes:
    """A Close frame, masked if there is a key."""
    if key is None:
        return bytes([0x88, len(payload)]) + payload
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return bytes([0x88, 0x80 | len(payload)]) + key + masked


def tail(data: bytes) -> bytes:
    """The last bytes of a stream, which the tunnel keeps."""
    return data[-frames.LONGEST_CLOSE :]


@given(before=st.binary(max_size=300), code=CODES, reason=REASONS)
def test_unmasked_close_is_found(before: bytes, code: int, reason: str) -> None:
    """A server's Close frame is found whatever precedes it."""
    frame = close_frame(code.to_bytes(2) + reason.encode())
    assert frames.closing_code(tail(before + frame), masked=False) == code


@given(before=st.binary(max_size=300), code=CODES, reason=REASONS, key=KEYS)
def test_masked_close_is_found(before: bytes, code: int, reason: str, key: bytes) -> None:
    """A client's Close frame is found whatever precedes it and whatever its masking key is."""
    frame = close_frame(code.to_bytes(2) + reason.encode(), key)
    assert frames.closing_code(tail(before + frame), masked=True) == code


@given(before=st.binary(max_size=300), key=st.none() | KEYS)
def test_close_without_code(before: bytes, key: bytes | None) -> None:
    """A Close frame without a code counts as 1005."""
    assert frames.closing_code(tail(before + close_frame(b"", key)), masked=key is not None) == frames.NO_CODE


@given(key=KEYS, code=CODES)
def test_short_frame_inside_a_longer_one(key: bytes, code: int) -> None:
    """A reason that looks like an empty Close frame does not hide the code in front of it."""
    reason = "\u0088\x00".encode()  # ends in 88 00
    assert frames.closing_code(close_frame(code.to_bytes(2) + reason), masked=False) == code
    # The key is chosen so that what is masked reads 88 80, the header of an empty masked Close frame.
    payload = code.to_bytes(2)
    key = b"\x88\x80" + key[2:]
    assert frames.closing_code(close_frame(payload, key), masked=True) == code


@given(
    code=CODES,
    reason=st.text("abc", max_size=123),
    key=st.sampled_from([None, b"\x01\x02\x03\x04"]),
    missing=st.integers(min_value=1, max_value=3),
)
def test_cut_close_is_none(code: int, reason: str, key: bytes | None, missing: int) -> None:
    """An incomplete Close frame is ignored."""
    frame = close_frame(code.to_bytes(2) + reason.encode(), key)
    assert frames.closing_code(frame[:-missing], masked=key is not None) is None


@pytest.mark.parametrize("data", [b"", b"\x88", b"\x81\x05hello", b"\x8a\x00", b"\x88\x80\x00\x00\x00"])
@pytest.mark.parametrize("masked", [True, False])
def test_no_close(data: bytes, masked: bool) -> None:
    """A stream that does not end in a Close frame has no close code."""
    assert frames.closing_code(data, masked) is None


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_code_that_may_not_be_sent(code: int) -> None:
    """A code that RFC 6455 7.4 does not allow in a frame is ignored."""
    assert frames.closing_code(close_frame(code.to_bytes(2)), masked=False) is None


def test_one_byte_is_no_code() -> None:
    """A Close frame with half a code is ignored."""
    assert frames.closing_code(close_frame(b"\x03"), masked=False) is None


@given(reason=st.binary(min_size=1, max_size=20).filter(lambda reason: not _decodes(reason)))
def test_reason_must_be_text(reason: bytes) -> None:
    """A Close frame whose reason is not UTF-8 is ignored."""
    assert frames.closing_code(close_frame(b"\x03\xe8" + reason), masked=False) != 1000


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def frame(payload: bytes, opcode: int = 2, fin: bool = True, masked: bool = False) -> bytes:
    """A frame with a header of the shortest form."""
    size = len(payload)
    long = b"\x7e" + size.to_bytes(2) if size < 65536 else b"\x7f" + size.to_bytes(8)
    length = bytes((size,)) if size < 126 else long
    head = bytes((opcode | (0x80 if fin else 0), length[0] | (0x80 if masked else 0))) + length[1:]
    return head + (b"\1\2\3\4" if masked else b"") + payload


@pytest.mark.parametrize("step", [1, 3, 1000, 10**6])
@pytest.mark.parametrize("masked", [False, True])
def test_boundaries_are_found_however_the_stream_is_cut(step: int, masked: bool) -> None:
    """Frames of every length form, fragments and control frames between them: each end is found, and the messages'."""
    sent = [
        (frame(b"", masked=masked), True),
        (frame(b"a" * 125, 1, masked=masked), True),
        (frame(b"b" * 126, 1, fin=False, masked=masked), False),
        (frame(b"ping", 9, masked=masked), False),
        (frame(b"c" * 300, 0, masked=masked), True),
        (frame(b"d" * 70_000, 2, masked=masked), True),
        (frame(b"\x03\xe8", 8, masked=masked), False),
    ]
    stream = b"".join(data for data, _ in sent)
    expected: list[tuple[int, bool]] = []
    at = 0
    for data, ends in sent:
        at += len(data)
        expected.append((at, ends))
    boundaries = frames.Boundaries()
    found: list[tuple[int, bool]] = []
    for start in range(0, len(stream), step):
        part = stream[start : start + step]
        found += [(start + end, ends) for end, ends in boundaries.feed(part)]
        assert boundaries.between_frames is (start + len(part) in {end for end, _ in expected})
    assert found == expected


def test_close_frame_is_one_that_is_found() -> None:
    """A Close frame of ours ends a stream with its code, however long the reason."""
    assert frames.closing_code(b"x" + frames.close_frame(1011, "why"), masked=False) == 1011
    assert frames.closing_code(frames.close_frame(4000, "y" * 500), masked=False) == 4000
