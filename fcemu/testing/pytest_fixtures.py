"""What does the fixture `fc` give to a test, and what does it ask of it at the end?

The emulator is imported when the first test asks for the fixture.
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

_AT_MOST = 4
"""Emulators that are kept; the one that was not used for longest makes room."""

_LINES = 40
"""Lines in each section of a failing test's report."""

_kit_key = pytest.StashKey["Kit"]()
_records_key = pytest.StashKey["list[Record]"]()


@pytest.fixture(scope="session")
def fcemu_config(pytestconfig: pytest.Config) -> Configuration:
    """What `fc` serves: a file, or a mapping of its form. Override it where a file is not enough."""
    if option := pytestconfig.getoption("fcemu_config"):
        return pytestconfig.invocation_params.dir / str(option)
    if ini := pytestconfig.getini("fcemu_config"):
        return pytestconfig.rootpath / str(ini)
    for name in _USUAL_NAMES:
        if (pytestconfig.rootpath / name).exists():
            return pytestconfig.rootpath / name
    pytest.fail(
        f"fcemu: there is neither {' nor '.join(_USUAL_NAMES)} in {pytestconfig.rootpath}; say what to serve with "
        "`fcemu_config` in the ini file, --fcemu-config, or a fixture `fcemu_config`",
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
    """An emulator of Function Compute with your function behind its trigger; it begins anew for each test."""
    item: pytest.Item = request.node
    kit = _fcemu_kits.of(item, fcemu_config)
    if isinstance(kit, str):
        pytest.fail(kit, pytrace=False)
    item.stash[_kit_key] = kit
    yield kit
    del item.stash[_kit_key]
    records = kit.journal if kit.running else []
    if kit.running and (left_open := kit.cut_open()):
        item.stash[_records_key] = records  # they are gone from the journal when the teardown is reported
        pytest.fail(_told(left_open), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of a failing test what its functions did."""
    report = yield
    if report.failed:
        kit, records = item.stash.get(_kit_key, None), item.stash.get(_records_key, [])
        report.sections += _sections(kit.journal if kit is not None and kit.running else records)
    return report


class Kits:
    """The emulators of a session, one for each configuration that its tests want."""

    def __init__(self) -> None:
        self._kits: OrderedDict[str, Kit] = OrderedDict()
        self._failed: dict[str, str] = {}

    def of(self, item: pytest.Item, configuration: Configuration) -> Kit | str:
        """The emulator of a test, as at its start; or why there is none."""
        from fcemu.errors import FcemuError
        from fcemu.testing.kit import account_of

        markers = list(item.iter_markers("fc"))
        if any(marker.args for marker in markers):
            return "fcemu: @pytest.mark.fc takes keys and values, such as timeout=2"
        # The nearest one of several counts, key by key.
        changes = {key: value for marker in reversed(markers) for key, value in marker.kwargs.items()}
        function = changes.pop("function", None)
        file, line, _ = item.location
        where = (file, (line or 0) + 1)
        try:
            account = account_of(configuration, changes, function=function, folder=item.config.rootpath, where=where)
            kit = self._started(account)
            kit.reset()
        except FcemuError as error:
            return f"fcemu: {error}"
        return kit

    def stop(self) -> list[str]:
        """Stop them all; returns what went wrong."""
        from concurrent.futures import ThreadPoolExecutor

        from fcemu.errors import FcemuError

        problems = []
        with ThreadPoolExecutor(_AT_MOST) as pool:  # each may take its functions' time to stop
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
        if key in self._failed:  # waiting for it again would take as long
            raise FcemuError(self._failed[key])
        kit = self._kits.pop(key, None)
        if kit is None or not kit.running:
            while len(self._kits) >= _AT_MOST:
                self._kits.popitem(last=False)[1].stop()
            try:
                kit = Kit(account)
            except FcemuError as error:
                self._failed[key] = str(error)
                raise
        self._kits[key] = kit  # the last one used is the last one
        return kit


def _told(left_open: Sequence[InvocationEnded]) -> str:
    lines = [
        f"  {'WebSocket' if record.kind == 'websocket' else record.method} {record.target} to {record.function}, "
        f"open for {record.duration:.1f} s ({record.request_id})"
        for record in left_open
    ]
    return "\n".join(
        [
            "fcemu: still open when the test was over:",
            *lines,
            "Close it in the test, or in a fixture that asks for `fc`, so that its end comes before that of `fc`.",
        ]
    )


def _sections(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    from fcemu.journal import LogLine
    from fcemu.report import as_text

    for title, of_logs in (("fcemu invocations", False), ("fcemu function log", True)):
        lines = [line for record in records if isinstance(record, LogLine) is of_logs for line in as_text(record)]
        if lines:
            yield title, "\n".join(lines[-_LINES:])
