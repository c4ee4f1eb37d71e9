"""Accepted values of a custom domain."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fcemu.model import (
    BasicAuthConfig,
    CustomDomain,
    DomainAuthConfig,
    PathConfig,
)
from tests.unit.model.builders import domain


@pytest.mark.parametrize("path", ["/", "/a", "/*", "/a/*"])
def test_paths_and_prefixes_are_routes(path: str) -> None:
    """An exact path, or a prefix that ends in `/*`, is a route."""
    assert PathConfig(path=path, functionName="f").path == path


@pytest.mark.parametrize("path", ["a", "", "/a*", "/*/a", "/a/*/*"])
def test_other_patterns_are_refused(path: str) -> None:
    """A star elsewhere, or a path without a slash, is refused."""
    with pytest.raises(ValidationError):
        PathConfig(path=path, functionName="f")


def test_domain_names_are_lower_case() -> None:
    """A domain name is stored in lower case, as host names are compared."""
    assert CustomDomain.model_validate(domain("WS.Example.COM", "f")).domainName == "ws.example.com"


def test_authentication_is_typed() -> None:
    """`auth` is the model of `authType`, and None for a type that has no configuration."""
    users = {"users": [{"userName": "somebody-here", "password": "Password-1234!"}]}
    config = DomainAuthConfig.model_validate({"authType": "basic", "authInfo": users})
    assert isinstance(config.auth, BasicAuthConfig)
    assert DomainAuthConfig.model_validate({"authType": "anonymous"}).auth is None
