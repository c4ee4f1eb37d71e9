"""What an HTTP trigger defaults to and accepts."""

from __future__ import annotations

from fcemu.model import (
    HttpTrigger,
)
from tests.unit.model.builders import trigger


def test_trigger_auth_defaults_to_function() -> None:
    """A trigger without `authType` asks for a signature, as the API's default does."""
    data = trigger()
    del data["triggerConfig"]["authType"]
    assert HttpTrigger.model_validate(data).triggerConfig.authType == "function"


def test_numeric_qualifier_is_text() -> None:
    """A bare version number is a qualifier."""
    assert HttpTrigger.model_validate({**trigger(), "qualifier": 3}).qualifier == "3"
