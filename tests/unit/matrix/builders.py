"""Accounts and scenarios from which the tests of the matrix are made."""

from __future__ import annotations

from typing import Any

from fcemu.matrix.scenarios import Scenario, scenarios
from fcemu.model import Account


def account(auth_type: str = "anonymous", domain: str = "", **settings: Any) -> Account:
    """One function with a timeout of 60 s; with a custom domain if it is given an `authType`."""
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": auth_type}}
    domains = [
        {
            "domainName": "example.com",
            "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]},
            "authConfig": {"authType": domain},
        }
    ]
    return Account.model_validate(
        {
            "functions": [{"functionName": "fn", "timeout": 60, "triggers": [trigger]}],
            "customDomains": domains if domain else [],
            "fcemu": settings,
        }
    )


def scenario(name: str, after: float = 1.0) -> Scenario:
    """The scenario of that name."""
    (found,) = [each for each in scenarios(account(), after) if each.name == name]
    return found
