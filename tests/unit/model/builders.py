"""Data from which the tests of the models are made."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fcemu.errors import Finding
from fcemu.model import (
    Function,
)


def function(**props: Any) -> Function:
    """A function of the smallest kind, with more props."""
    return Function.model_validate({"functionName": "f", **props})


def trigger(name: str = "http", qualifier: str = "LATEST", **config: Any) -> dict[str, Any]:
    """An anonymous trigger's data."""
    config = {"methods": ["GET"], "authType": "anonymous", **config}
    return {"triggerName": name, "qualifier": qualifier, "triggerConfig": config}


def domain(name: str, *routes: str) -> dict[str, Any]:
    """A custom domain's data, with one route to each function."""
    config = [{"path": f"/{index}", "functionName": route} for index, route in enumerate(routes)]
    return {"domainName": name, "routeConfig": {"routes": config}}


def findings(error: pytest.ExceptionInfo[ValidationError]) -> list[Finding]:
    """The findings of a validator."""
    (details,) = error.value.errors()
    found: list[Finding] = details["ctx"]["findings"]
    return found
