"""The action `close`."""

from __future__ import annotations

from unittest.mock import Mock, call

import pytest
from pydantic import ValidationError

from fcemu.faults.actions.action import Socket
from fcemu.faults.actions.close import Close


def test_close() -> None:
    """The socket is closed with the code."""
    target = Mock(spec_set=Socket)
    Close(close=1011).apply(target)
    assert target.mock_calls == [call.close(1011)]


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_code_that_can_be_sent(code: int) -> None:
    """Every code that a Close frame can have is a code of a rule."""
    assert Close(close=code).close == code


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015, 2999])
def test_code_that_cannot_be_sent(code: int) -> None:
    """A code that no Close frame has is refused, with what to write instead."""
    with pytest.raises(ValidationError, match=f"{code} cannot be sent in a Close frame; for 1006 write `cut: true`"):
        Close(close=code)


def test_failures() -> None:
    """The matrix has a scenario for each code that asks a client to connect again."""
    assert [each.name for each in Close.failures(1.0)] == ["close-1001", "close-1011", "close-1012", "close-1013"]
