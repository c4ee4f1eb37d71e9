"""What a side of a tunnel keeps of what passes: the end of it, for the log's close code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from fcemu.gateway import frames
from fcemu.gateway.tunnel import Pipe


@given(st.lists(st.binary(min_size=1, max_size=200)))
def test_last_bytes_are_kept_however_they_came(pieces: list[bytes]) -> None:
    """All passes on, and the last bytes, as many as a Close frame can have, are those that came last."""
    written: list[bytes] = []
    pipe = Pipe(cast(Any, SimpleNamespace()), cast(Any, None), written.append)
    for piece in pieces:
        pipe.data_received(piece)
    whole = b"".join(pieces)
    assert b"".join(written) == whole
    assert pipe.last == whole[-frames.LONGEST_CLOSE :]
