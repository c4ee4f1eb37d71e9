"""Changes of real files in real folders are reported as they happen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import watchfiles

from fcemu.errors import StartError
from fcemu.serving.watching import Changes, watch

A = Changes(False, frozenset({"a"}))
B = Changes(False, frozenset({"b"}))
CONFIGURATION = Changes(True, frozenset())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The code of two functions; the configuration is in the folder of `a`."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.js").write_text("1")
        (tmp_path / name / "old.js").write_text("1")
    (tmp_path / "a" / "trigger.yaml").write_text("1")
    (tmp_path / ".env").write_text("1")
    return tmp_path


class Watched:
    """The changes of a folder; those between two waits are not missed."""

    def __init__(self, generator: AsyncGenerator[Changes, None]) -> None:
        self._generator = generator
        self._waiting: asyncio.Task[Changes] | None = None

    async def begin(self) -> None:
        """Start to watch."""
        self._waiting = asyncio.ensure_future(anext(self._generator))
        await asyncio.sleep(0)  # watching begins before the first thing that it waits for

    async def told(self) -> Changes:
        """Wait for the next changes."""
        if self._waiting is None:
            await self.begin()
        assert self._waiting is not None
        changes = await asyncio.wait_for(self._waiting, 30)
        self._waiting = None
        return changes

    async def cancel(self) -> None:
        assert self._waiting is not None
        self._waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._waiting

    async def close(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            await self.cancel()
        await self._generator.aclose()


@pytest.fixture
async def watched(folder: Path) -> AsyncIterator[Watched]:
    """The folder, being watched."""
    code = {"a": folder / "a", "b": folder / "b"}
    watched = Watched(watch(folder / "a" / "trigger.yaml", folder / ".env", code, ["uploads"]))
    await watched.begin()
    yield watched
    await watched.close()


def replace(path: Path) -> None:
    """Save as editors do: write a draft, and rename it."""
    draft = path.with_name(f"draft-{os.getpid()}")
    draft.write_text("other")
    draft.replace(path)


def new_folder(path: Path) -> None:
    """Write a file into a new folder in a new folder."""
    path.parent.mkdir(parents=True)
    path.write_text("new")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("index.js", lambda path: path.write_text("other")),
        ("index.js", replace),
        ("index.js", Path.unlink),
        ("new.js", Path.touch),
        ("new/deep/new.js", new_folder),
        ("index.js", lambda path: path.rename(path.with_name("renamed.js"))),
    ],
    ids=["write", "save-by-rename", "delete", "new", "new-in-new-folders", "rename"],
)
async def test_changed_code_names_its_function(
    watched: Watched, folder: Path, name: str, change: Callable[[Path], None]
) -> None:
    """Any change of a file in a function's folder reports that function, and no other."""
    change(folder / "b" / name)
    assert await watched.told() == B


async def test_new_folder_is_watched_too(watched: Watched, folder: Path) -> None:
    """A folder that is created while watching is watched from then on."""
    (folder / "a" / "new").mkdir()
    assert await watched.told() == A
    (folder / "a" / "new" / "x.js").write_text("1")
    assert await watched.told() == A


async def test_burst_is_told_once(watched: Watched, folder: Path) -> None:
    """Many changes at once in both folders are reported together, and not again later."""
    for number in range(20):
        (folder / "ab"[number % 2] / f"{number}.js").write_text("1")
    assert await watched.told() == Changes(False, frozenset({"a", "b"}))
    replace(folder / "a" / "trigger.yaml")
    assert await watched.told() == CONFIGURATION


@pytest.mark.parametrize("name", ["a/trigger.yaml", ".env"])
@pytest.mark.parametrize(
    "change", [lambda path: path.write_text("other"), replace, Path.unlink], ids=["write", "save-by-rename", "delete"]
)
async def test_configuration_is_nobodys_code(
    watched: Watched, folder: Path, name: str, change: Callable[[Path], None]
) -> None:
    """A change of the configuration or its .env file is reported as such, even in a folder with code."""
    change(folder / name)
    assert await watched.told() == CONFIGURATION
    (folder / name).write_text("again")
    assert await watched.told() == CONFIGURATION


@pytest.mark.parametrize(
    "name", ["__pycache__/x.pyc", "node_modules/ws/index.js", ".index.js.swp", "x.log", "uploads/x.png"]
)
async def test_ignored_changes_are_not_told(watched: Watched, folder: Path, name: str) -> None:
    """Changes of ignored files are not reported, and do not hide others."""
    (folder / "a" / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / "a" / name).write_text("1")
    (folder / "b" / "index.js").write_text("other")
    assert await watched.told() == B


async def test_change_in_between_is_told_at_the_next_wait(watched: Watched, folder: Path) -> None:
    """Changes between two waits are not lost."""
    (folder / "a" / "index.js").write_text("2")
    assert await watched.told() == A
    (folder / "b" / "index.js").write_text("2")
    replace(folder / "a" / "trigger.yaml")
    assert await watched.told() == Changes(True, frozenset({"b"}))


def build_anew(code: Path) -> None:
    """Remove everything, and write it again."""
    shutil.rmtree(code)
    code.mkdir()
    (code / "index.js").write_text("2")


def exchange(code: Path) -> None:
    """Replace the folder by another one."""
    other = code.with_name("other")
    shutil.copytree(code, other)
    code.rename(code.with_name("former"))
    other.rename(code)


@pytest.mark.parametrize("change", [build_anew, exchange])
async def test_replaced_folder_is_one_change_and_stays_watched(
    watched: Watched, folder: Path, change: Callable[[Path], None]
) -> None:
    """Replacing the whole folder is one change, and changes in the new folder are reported."""
    change(folder / "b")
    assert await watched.told() == B
    replace(folder / "a" / "trigger.yaml")
    assert await watched.told() == CONFIGURATION
    (folder / "b" / "index.js").write_text("3")
    assert await watched.told() == B


async def test_folder_that_is_away_is_told_when_it_is_back(watched: Watched, folder: Path) -> None:
    """While a folder is missing the others are watched."""
    (folder / "b").rename(folder / "away")
    (folder / "a" / "index.js").write_text("2")
    assert await watched.told() == A
    (folder / "away").rename(folder / "b")
    assert await watched.told() == B


def inotifies() -> int:
    """How many watchers this process has."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += "inotify" in os.readlink(f"/proc/self/fd/{descriptor}")
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="watchers can be counted on Linux only")
@pytest.mark.parametrize("end", [Watched.cancel, Watched.close], ids=["cancel", "close"])
async def test_it_ends_without_a_change(watched: Watched, end: Callable[[Watched], Awaitable[None]]) -> None:
    """Watching leaves no watcher behind if it is cancelled or closed while nothing changes."""
    assert inotifies() == 1
    await end(watched)
    async with asyncio.timeout(30):
        while inotifies():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError("OS file watch limit reached."), "WATCHFILES_FORCE_POLLING=1"),
        (RuntimeError("Error creating recommended watcher: Too many open files"), "WATCHFILES_FORCE_POLLING=1"),
        (PermissionError("Permission denied (os error 13)"), "make that folder readable"),
    ],
)
async def test_what_cannot_be_watched_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    """If the system has no more watches, or a folder may not be read, the error says what to do."""

    async def failing(*_: object, **__: object) -> AsyncIterator[None]:
        raise error
        yield

    monkeypatch.setattr(watchfiles, "awatch", failing)
    with pytest.raises(StartError) as caught:
        await anext(watch(folder / "a" / "trigger.yaml", None, {"a": folder / "a"}))
    assert str(error) in str(caught.value)
    assert remedy in str(caught.value)


def test_nobody_pays_who_does_not_reload() -> None:
    """The library is imported only when watching starts."""
    code = "import sys, fcemu.serving.watching; print('watchfiles' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
