"""Mistakes in an account as a whole, and how its functions are found."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fcemu.model import (
    Account,
    Settings,
)
from tests.unit.model.builders import domain, findings


def test_account_finds_all_clashes() -> None:
    """Conflicting names and routes to unknown functions are all found, each with its path."""
    with pytest.raises(ValidationError) as error:
        Account.model_validate(
            {
                "functions": [{"functionName": "f"}, {"functionName": "F"}],
                "customDomains": [domain("a.com", "f", "g"), domain("A.com", "h")],
            }
        )
    assert [finding.path for finding in findings(error)] == [
        ("functions", 1, "functionName"),
        ("customDomains", 0, "routeConfig", "routes", 1, "functionName"),
        ("customDomains", 1, "domainName"),
        ("customDomains", 1, "routeConfig", "routes", 0, "functionName"),
    ]


def test_function_lookup_ignores_case() -> None:
    """The account finds a function by its name in any case, and none for another name."""
    account = Account.model_validate({"functions": [{"functionName": "Chat"}]})
    found = account.function("cHAT")
    assert found is not None
    assert found.functionName == "Chat"
    assert account.function("other") is None


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "localhost:0", "[::1]:8080", "0.0.0.0:80"])
def test_listen_takes_host_and_port(listen: str) -> None:
    """`listen` accepts a host and a port."""
    assert Settings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["8080", ":8080", "::1:8080", "localhost", "a b:80", ""])
def test_listen_refuses_less(listen: str) -> None:
    """`listen` refuses a value without a host or without a port."""
    with pytest.raises(ValidationError):
        Settings(listen=listen)
