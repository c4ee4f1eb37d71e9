"""Defaults and accepted values of an HTTP trigger."""

from __future__ import annotations

from fcemu.model import BasicAuthConfig, HttpTrigger, HttpTriggerConfig
from tests.unit.model.builders import trigger


def test_trigger_auth_defaults_to_function() -> None:
    """A trigger without `authType` requires a signature, which is the API's default."""
    data = trigger()
    del data["triggerConfig"]["authType"]
    assert HttpTrigger.model_validate(data).triggerConfig.authType == "function"


def test_numeric_qualifier_is_text() -> None:
    """A version number is a valid qualifier."""
    assert HttpTrigger.model_validate({**trigger(), "qualifier": 3}).qualifier == "3"


def test_authentication_is_typed() -> None:
    """`auth` is the model of `authType`, and None for a type that has no configuration."""
    users = {"users": [{"userName": "somebody-here", "password": "Password-1234!"}]}
    config = HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": "basic", "authConfig": users})
    assert isinstance(config.auth, BasicAuthConfig)
    assert HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": "anonymous"}).auth is None
