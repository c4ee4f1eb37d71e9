"""Does a stream of WebSocket frames end with a Close frame, and with which code? (RFC 6455 5.5.1)

A tunnel forwards bytes without parsing frames. It keeps the last bytes of each direction, and looks for a Close frame
once, when the socket has ended. Nothing follows a Close frame, so these bytes end with it, or there was none.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_CODE = 1005
"""RFC 6455 7.1.5: a Close frame without a code."""

ABNORMAL = 1006
"""RFC 6455 7.1.5: the connection ended without a Close frame."""


LONGEST_CLOSE = 2 + 4 + 125
"""Bytes of the longest Close frame: header, masking key, payload."""


def closing_code(tail: bytes, masked: bool) -> int | None:
    """The code of the Close frame that `tail` ends with, or None.

    Args:
        tail: the last bytes of one direction.
        masked: they came from the client.
    """
    mask_bit = 0x80 if masked else 0
    header = 6 if masked else 2
    # Try the longest first. A short Close frame is easily found by chance inside a longer one, in its masked bytes or
    # its reason. A longer one must have a valid code and text, so it is rarely found by chance before a short one.
    start = max(0, len(tail) - header - 125) - 1
    while (start := tail.find(0x88, start + 1, max(0, len(tail) - header + 1))) >= 0:
        if tail[start + 1] != mask_bit | (len(tail) - header - start):
            continue
        payload = tail[start + header :]
        if masked:
            key = tail[start + 2 : start + 6]
            payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        if not payload:
            return NO_CODE
        code = int.from_bytes(payload[:2])
        if len(payload) >= 2 and _is_code(code) and _is_text(payload[2:]):
            return code
    return None


def _is_code(code: int) -> bool:
    return 1000 <= code <= 1014 and code not in (1004, NO_CODE, ABNORMAL) or 3000 <= code <= 4999


def _is_text(reason: bytes) -> bool:
    try:
        reason.decode()
    except UnicodeDecodeError:
        return False
    return True


def close_frame(code: int, reason: str) -> bytes:
    """A Close frame of a server."""
    payload = code.to_bytes(2) + reason.encode()[:123]
    return bytes((0x88, len(payload))) + payload


@dataclass
class Boundaries:
    """Finds the ends of frames and messages in a stream. Only faults need it; forwarding does not."""

    _head: bytes = b""
    _left: int = 0
    """Bytes of the current frame's payload that are still missing."""
    _ends_message: bool = False

    @property
    def between_frames(self) -> bool:
        """Whether the stream so far ends with a whole frame."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> list[tuple[int, bool]]:
        """The ends of frames within `data`, each with whether a message (text or binary) ends there, too."""
        ends: list[tuple[int, bool]] = []
        at = 0
        while at < len(data):
            if not self._left:
                self._head += data[at : at + 1]
                at += 1
                length = _payload(self._head)
                if length is None:
                    continue
                self._ends_message = bool(self._head[0] & 0x80) and self._head[0] & 0x0F < 8
                self._head, self._left = b"", length
            step = min(self._left, len(data) - at)
            self._left -= step
            at += step
            if not self._left:
                ends.append((at, self._ends_message))
        return ends


def _payload(head: bytes) -> int | None:
    """The length of a frame's payload; None while its header is incomplete."""
    if len(head) < 2:
        return None
    length, masked = head[1] & 0x7F, bool(head[1] & 0x80)
    extended = {126: 2, 127: 8}.get(length, 0)
    if len(head) < 2 + extended + 4 * masked:
        return None
    return int.from_bytes(head[2 : 2 + extended]) if extended else length
