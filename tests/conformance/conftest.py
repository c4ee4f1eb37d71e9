"""Where the claims are checked: by default an emulator of our own, with --endpoint any trigger with the same set-up."""

from __future__ import annotations

import pytest

from tests.conftest import Serve, function

SET_UP = {
    "open": function(functionName="open", triggerConfig={"methods": ["GET", "POST"], "authType": "anonymous"}),
    "closed": function(functionName="closed", triggerConfig={"disableURLInternet": True}),
    "post-only": function(functionName="post-only", triggerConfig={"methods": ["POST"]}),
    "untriggered": function(functionName="untriggered", triggers=[]),
    "disabled": function(functionName="disabled", concurrencyConfig={"reservedConcurrency": 0}),
    "broken": function(functionName="broken", customRuntimeConfig={"command": ["no-such-command"]}),
    "short": function(functionName="short", timeout=1),
}
"""The functions that the tables call, by name."""


@pytest.fixture
async def endpoint(request: pytest.FixtureRequest, serve: Serve) -> str:
    """The address of the front."""
    elsewhere: str | None = request.config.getoption("--endpoint")
    return elsewhere or (await serve(*SET_UP.values(), start="lazy")).url
