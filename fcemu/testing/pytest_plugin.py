"""How do an author's tests get an emulator? By the fixture `fc`; this is the part that pytest loads at every start.

It does so for every project in whose environment fcemu is installed, so nothing else of fcemu is imported here.
"""

from __future__ import annotations

import pytest

_MARKER = (
    "fc(function=None, **keys): run the test with other values for keys of the configuration, spelled as in the file: "
    "@pytest.mark.fc(timeout=2, instanceConcurrency=1)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fcemu-config`, and the settings of the ini file."""
    group = parser.getgroup("fcemu", "Function Compute emulator")
    group.addoption("--fcemu-config", metavar="FILE", help="the configuration that the fixture `fc` serves")
    parser.addini("fcemu_config", "the configuration that the fixture `fc` serves, relative to the root folder")
    parser.addini("fcemu_plugin", "whether there are the fixture `fc` and its marker", type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register marker and fixtures, unless the ini file says that nobody wants them."""
    if config.getini("fcemu_plugin"):
        from fcemu.testing import pytest_fixtures

        config.addinivalue_line("markers", _MARKER)
        config.pluginmanager.register(pytest_fixtures, "fcemu-fixtures")
