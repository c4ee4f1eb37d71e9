"""The fixture `fc`: an emulator for each configuration, reset before each test.

The emulator is imported when the first test requests the fixture.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fcemu.journal import InvocationEnded, Record
    from fcemu.model import Account
    from fcemu.testing.kit import Kit


Configuration = str | PathLike[str] | Mapping[str, Any]

_USUAL_NAMES = ("trigger.yaml", "s.yaml")

_MAX_KITS = 4
"""Emulators that run at the same time; the least recently used one is stopped first."""

_LINES = 40
"""Lines in each section of the report of a failing test."""

_kit_key = pytest.StashKey["Kit"]()
_records_key = pytest.StashKey["list[Record]"]()


@pytest.fixture(scope="session")
def fcemu_config(pytestconfig: pytest.Config) -> Configuration:
    """The configuration that `fc` serves: a file, or a mapping with the content of one. Override it to compute one."""
    if option := pytestconfig.getoption("fcemu_config"):
        return pytestconfig.invocation_params.dir / str(option)
    if ini := pytestconfig.getini("fcemu_config"):
        return pytestconfig.rootpath / str(ini)
    for name in _USUAL_NAMES:
        if (pytestconfig.rootpath / name).exists():
            return pytestconfig.rootpath / name
    pytest.fail(
        f"fcemu: there is neither {' nor '.join(_USUAL_NAMES)} in {pytestconfig.rootpath}; name the configuration with "
        "`fcemu_config` in the ini file, with --fcemu-config, or with a fixture `fcemu_config`",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def _fcemu_kits() -> Iterator[Kits]:
    kits = Kits()
    yield kits
    if problems := kits.stop():
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def fc(request: pytest.FixtureRequest, fcemu_config: Configuration, _fcemu_kits: Kits) -> Iterator[Kit]:
    """An emulator of Function Compute that serves your function behind its trigger; reset for each test."""
    item: pytest.Item = request.node
    kit = _fcemu_kits.kit_for(item, fcemu_config)
    if isinstance(kit, str):
        pytest.fail(kit, pytrace=False)
    item.stash[_kit_key] = kit
    yield kit
    del item.stash[_kit_key]
    records = kit.journal if kit.running else []
    if kit.running and (left_open := kit.cut_open()):
        item.stash[_records_key] = records  # the journal no longer has them when the teardown is reported
        pytest.fail(_left_open_message(left_open), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failing test what its functions did."""
    report = yield
    if report.failed:
        kit, records = item.stash.get(_kit_key, None), item.stash.get(_records_key, [])
        report.sections += _sections(kit.journal if kit is not None and kit.running else records)
    return report


class Kits:
    """The emulators of a test session, one for each configuration that its tests use."""

    def __init__(self) -> None:
        self._kits: OrderedDict[str, Kit] = OrderedDict()
        self._failed: dict[str, str] = {}

    def kit_for(self, item: pytest.Item, configuration: Configuration) -> Kit | str:
        """The emulator for a test, reset; or the reason why there is none."""
        from fcemu.errors import FcemuError
        from fcemu.testing.accounts import account_for

        markers = list(item.iter_markers("fc"))
        if any(marker.args for marker in markers):
            return "fcemu: @pytest.mark.fc takes only keyword arguments, such as timeout=2"
        # Of several markers with the same key, the nearest one counts.
        overrides = {key: value for marker in reversed(markers) for key, value in marker.kwargs.items()}
        function = overrides.pop("function", None)
        file, line, _ = item.location
        where = (file, (line or 0) + 1)
        try:
            account = account_for(configuration, overrides, function=function, folder=item.config.rootpath, where=where)
            kit = self._started(account)
            kit.reset()
        except FcemuError as error:
            return f"fcemu: {error}"
        return kit

    def stop(self) -> list[str]:
        """Stop all emulators; returns what went wrong."""
        from concurrent.futures import ThreadPoolExecutor

        from fcemu.errors import FcemuError

        problems = []
        with ThreadPoolExecutor(_MAX_KITS) as pool:  # each may wait for its functions to stop
            for stopping in [pool.submit(kit.stop) for kit in self._kits.values()]:
                try:
                    stopping.result()
                except FcemuError as error:
                    problems.append(f"fcemu: {error}")
        return problems

    def _started(self, account: Account) -> Kit:
        from fcemu.errors import FcemuError
        from fcemu.testing.kit import Kit

        key = account.model_dump_json()
        if key in self._failed:  # do not wait for it again
            raise FcemuError(self._failed[key])
        kit = self._kits.pop(key, None)
        if kit is None or not kit.running:
            while len(self._kits) >= _MAX_KITS:
                self._kits.popitem(last=False)[1].stop()
            try:
                kit = Kit(account)
            except FcemuError as error:
                self._failed[key] = str(error)
                raise
        self._kits[key] = kit  # in the order of last use
        return kit


def _left_open_message(left_open: Sequence[InvocationEnded]) -> str:
    lines = [
        f"  {'WebSocket' if record.kind == 'websocket' else record.method} {record.target} to {record.function}, "
        f"open for {record.duration:.1f} s ({record.request_id})"
        for record in left_open
    ]
    return "\n".join(
        [
            "fcemu: still open at the end of the test:",
            *lines,
            "Close it in the test, or in a fixture that requests `fc`, because that is torn down before `fc`.",
        ]
    )


def _sections(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    from fcemu.journal import LogLine
    from fcemu.report import as_text

    for title, of_logs in (("fcemu invocations", False), ("fcemu function log", True)):
        lines = [line for record in records if isinstance(record, LogLine) is of_logs for line in as_text(record)]
        if lines:
            yield title, "\n".join(lines[-_LINES:])
