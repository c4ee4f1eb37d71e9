"""The pytest plugin that provides the fixture `fc`; this module is what pytest loads whenever it starts.

Pytest loads it in every project in whose environment fcemu is installed, so it imports nothing else of fcemu.
"""

from __future__ import annotations

import pytest

_MARKER = (
    "fc(function=None, **keys): override keys of the configuration for this test, spelled as in the file: "
    "@pytest.mark.fc(timeout=2, instanceConcurrency=1)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fcemu-config` and the settings of the ini file."""
    group = parser.getgroup("fcemu", "Function Compute emulator")
    group.addoption("--fcemu-config", metavar="FILE", help="the configuration that the fixture `fc` serves")
    parser.addini("fcemu_config", "the configuration that the fixture `fc` serves, relative to the root folder")
    parser.addini("fcemu_plugin", "whether to provide the fixture `fc` and its marker", type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the fixtures, unless the ini file disables them."""
    if config.getini("fcemu_plugin"):
        from fcemu.testing import pytest_fixtures

        config.addinivalue_line("markers", _MARKER)
        config.pluginmanager.register(pytest_fixtures, "fcemu-fixtures")
