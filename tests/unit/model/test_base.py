"""What every model shares: frozen, and its secrets are not shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fcemu.model import (
    AccessKey,
)
from tests.unit.model.builders import function


def test_models_are_frozen() -> None:
    """A model refuses assignment."""
    with pytest.raises(ValidationError):
        function().timeout = 5  # type: ignore[misc]


def test_secrets_are_not_shown() -> None:
    """A key pair's repr keeps its secret."""
    shown = repr(AccessKey(accessKeyId="id", accessKeySecret="hush", securityToken="quiet"))
    assert "id" in shown
    assert "hush" not in shown
    assert "quiet" not in shown
