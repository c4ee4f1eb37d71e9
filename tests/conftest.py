"""The harness: an emulator in the test's own loop, and small functions to put behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from fcemu.emulator import Emulator
from fcemu.model import Account, Function, Settings

pytest_plugins = ["pytester"]

# The one profile. How long an example takes depends on what else the machine does, so no example fails for it.
hypothesis.settings.register_profile("fcemu", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("fcemu")

FUNCTIONS = Path(__file__).parent / "functions"
EXAMPLES = Path(__file__).parent.parent / "examples"

DEFAULTS = {"listen": "127.0.0.1:0", "stopGrace": 1, "freeze": "off"}

Serve = Callable[..., Awaitable[Emulator]]


def function(script: str = "echo.py", **props: Any) -> Function:
    """A function whose server is a script of tests/functions, with an anonymous trigger for every method."""
    trigger = {"methods": ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"], "authType": "anonymous"}
    trigger.update(props.pop("triggerConfig", {}))
    defaults = {
        "functionName": "fn",
        "code": str(FUNCTIONS),
        "timeout": 30,
        "instanceConcurrency": 20,
        "customRuntimeConfig": {"command": [sys.executable, script]},
        "triggers": [{"triggerName": "http-trigger", "triggerConfig": trigger}],
    }
    return Function.model_validate({**defaults, **props})


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what outlives a run of fcemu away from the user's own state folder, and from that of other workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an emulator on a port of the system's choice: `await serve(function(...), **settings)`.

    Instances are not frozen unless a test asks for it: most look at what a function writes behind an answer.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *functions: Function,
            quotas: Any = None,
            customDomains: Any = (),
            accessKeys: Any = (),
            debug: bool = False,
            **settings: Any,
        ) -> Emulator:
            account = Account.model_validate(
                {
                    "functions": list(functions),
                    "customDomains": list(customDomains),
                    "accessKeys": list(accessKeys),
                    "quotas": quotas or {},
                    "fcemu": Settings.model_validate({**DEFAULTS, **settings}),
                }
            )
            return await stack.enter_async_context(Emulator(account, debug=debug))

        yield start


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops that the tests run on: FCEMU_TEST_LOOP=asyncio, uvloop, or both with a comma."""
    import uvloop

    known = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {name: known[name] for name in os.environ.get("FCEMU_TEST_LOOP", "asyncio").split(",")}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--endpoint http://127.0.0.1:8080`: a front that serves conformance/conftest.py's SET_UP, by Host header."""
    parser.addoption("--endpoint", help="check the conformance tables against this address")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With FCEMU_NO_SKIPS a skipped test fails the run: the gate has every tool, a user's machine may not."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FCEMU_NO_SKIPS") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
