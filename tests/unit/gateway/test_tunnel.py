"""A side of a tunnel keeps the last bytes of its stream, for the close code in the log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from fcemu.gateway import frames
from fcemu.gateway.tunnel import Pipe


@given(st.lists(st.binary(min_size=1, max_size=200)))
def test_last_bytes_are_kept_however_they_came(pieces: list[bytes]) -> None:
    """All bytes pass on; as many of the last ones are kept as a Close frame can have."""
    written: list[bytes] = []
    pipe = Pipe(cast(Any, SimpleNamespace()), cast(Any, None), written.append)
    for piece in pieces:
        pipe.data_received(piece)
    whole = b"".join(pieces)
    assert b"".join(written) == whole
    assert pipe.last == whole[-frames.LONGEST_CLOSE :]
