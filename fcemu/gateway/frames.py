"""Does a stream of WebSocket frames end in a Close frame, and with which code? (RFC 6455 5.5.1)

The tunnel keeps only the last bytes of each direction and asks once, when the socket is over: no frame is parsed to
be forwarded. Nothing follows a Close frame, so it is the end of those bytes or it is not there.
"""

from __future__ import annotations

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
    # The longest first: a short one is easily found in the masked bytes or the reason of a longer one, which has to
    # have a code and a text, is hardly found by chance in what precedes a short one.
    for length in range(min(125, len(tail) - header), -1, -1):
        start = len(tail) - header - length
        if tail[start] != 0x88 or tail[start + 1] != mask_bit | length:
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
