"""Which changes of code and configuration matter? (`fcemu serve --reload`)"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import functools
import os
import re
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fcemu.errors import StartError

if TYPE_CHECKING:
    from watchfiles.main import FileChange


IGNORED = (
    # version control; what editors and file managers keep
    ".git", ".hg", ".svn", ".jj", ".idea", ".vscode", ".DS_Store", "Thumbs.db",
    # installed dependencies: thousands of files while an installation is under way. What lists them is not ignored.
    "node_modules", ".venv", "venv",
    # made by running or testing the code
    "__pycache__", "*.py[co]", ".cache", ".*_cache", ".hypothesis", ".tox", ".nox", ".nyc_output", "htmlcov",
    ".coverage", ".coverage.*",
    # half-saved: vim, Emacs, JetBrains, Kate, GNOME
    ".*.sw?", "*~", "4913", ".#*", "#*#", "*___jb_*___", "*.kate-swp", ".goutputstream-*", "flycheck_*",
    # data that a function writes while it runs: to it, a change is no other code
    "*.log", "*.log.*", "*.pid", "*.sock", "*.db", "*.db-*", "*.sqlite*",
)  # fmt: skip
"""Files and folders whose changes never matter. In doubt a name is left out: what is compiled may be what runs."""

_LOOK_EVERY = 0.5
"""Seconds between two looks at what tells no events: the configuration's files, which may be in any folder."""

_SETTLE = 0.05
"""Seconds for which a file has to stay as it is."""


@dataclass(frozen=True)
class Changes:
    """What has changed since the last time.

    Attributes:
        configuration: the configuration file or its `fcemu.envFile`.
        functions: names of those whose code has.
    """

    configuration: bool
    functions: frozenset[str]


def affected(
    paths: Collection[str], code: Mapping[str, Path], ignored: Iterable[str] = (), apart: Collection[str] = ()
) -> frozenset[str]:
    """The names of the functions whose code has changed.

    Args:
        paths: what has changed, absolute.
        code: each function's folder, absolute.
        ignored: patterns besides `IGNORED` (`fcemu.reloadIgnore`), for a name of a file or folder or for a path
            relative to the code folder; `*` takes `/` as well, and what is below an ignored folder is ignored.
        apart: files that are not code wherever they are: the configuration.
    """
    never = _pattern((*IGNORED, *ignored))
    return frozenset(
        name
        for name, folder in code.items()
        if any(path not in apart and _is_code(path, f"{folder}/", never) for path in paths)
    )


@functools.lru_cache(maxsize=8)
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    plain = (pattern.removeprefix("./").removeprefix("**/").strip("/") for pattern in patterns)
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in plain))


def _is_code(path: str, folder: str, never: re.Pattern[str]) -> bool:
    if not path.startswith(folder):
        return False
    parts = path[len(folder) :].split("/")
    upwards = ("/".join(parts[:length]) for length in range(1, len(parts) + 1))
    return not any(never.match(part) for part in parts) and not any(never.match(part) for part in upwards)


async def watch(
    configuration: Path, env_file: Path | None, code: Mapping[str, Path], ignored: Iterable[str] = ()
) -> AsyncGenerator[Changes, None]:
    """Tell what changes, from the first wait on; a burst is told once, and at the next wait if nobody waits.

    To end it, close it or cancel who waits. A code folder may be replaced as a whole, as builds do: that is a change
    when it is there again.

    Args:
        configuration, env_file: files, known by their names: an editor puts another file in the place.
        code: each function's folder.
        ignored: as `affected`'s.

    Raises:
        StartError: the folders cannot be watched; it says what to do.
    """
    files = [Path(os.path.abspath(file)) for file in (configuration, env_file) if file is not None]
    apart = {os.path.realpath(file) for file in files} | {f"{os.path.realpath(f.parent)}/{f.name}" for f in files}
    folders = {name: Path(os.path.realpath(folder)) for name, folder in code.items()}
    seen = _versions(files)
    unheard: set[Path] = set()  # folders that were replaced, so that nobody told what happened in them
    while True:
        watched = {folder: inode for folder in folders.values() if (inode := _inode(folder)) is not None}
        async with contextlib.aclosing(_batches(watched)) as batches:
            async for batch in batches:
                replaced = {folder for folder in folders.values() if _inode(folder) != watched.get(folder)}
                # A new folder may have the inode of the old one.
                replaced |= {Path(path) for change, path in batch if change.name == "deleted"} & watched.keys()
                heard = {name: folder for name, folder in folders.items() if folder in watched.keys() - replaced}
                names = affected(_lasting(batch), heard, ignored, apart)
                names |= {name for name, folder in heard.items() if folder in unheard}
                unheard = (unheard - watched.keys()) | replaced
                before, seen = seen, await _settled(files, seen)
                if names or seen != before:
                    yield Changes(seen != before, names)
                if replaced:
                    break


async def _batches(folders: Iterable[Path]) -> AsyncGenerator[set[FileChange], None]:
    """What happens in the folders, and now and then nothing; ends should one go away while it is looked through."""
    import watchfiles  # only --reload needs it

    batches = watchfiles.awatch(
        *folders,
        watch_filter=None,
        rust_timeout=int(_LOOK_EVERY * 1000),
        yield_on_timeout=True,
        # With `ignore_permission_denied` it would pass over the limit of watches as well, and hear nothing.
    )
    try:
        async with contextlib.aclosing(batches):
            async for batch in batches:
                yield batch
    except FileNotFoundError:
        await asyncio.sleep(_SETTLE)
    except (OSError, RuntimeError) as error:
        remedy = "with WATCHFILES_FORCE_POLLING=1 in the environment they are looked at regularly instead"
        if "ermission denied" in str(error):
            remedy = "make that folder readable, or move it out of the code folder"
        raise StartError(f"the code cannot be watched for changes: {error}; {remedy}") from error


def _lasting(batch: Collection[FileChange]) -> set[str]:
    """The paths of a batch without files that came and went, such as the draft of an editor that saves by rename."""
    came = {path for change, path in batch if change.name == "added"}
    went = {path for change, path in batch if change.name == "deleted"}
    return {path for _, path in batch} - {path for path in came & went if not os.path.lexists(path)}


def _inode(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return None


def _versions(files: Iterable[Path]) -> list[tuple[int, ...] | None]:
    """What tells a file from its former self; None if it is not there."""
    found: list[tuple[int, ...] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return found


async def _settled(files: Sequence[Path], before: list[tuple[int, ...] | None]) -> list[tuple[int, ...] | None]:
    """The files' versions, once they stay: half of a file is not a new version."""
    now = _versions(files)
    while now != before:
        await asyncio.sleep(_SETTLE)
        before, now = now, _versions(files)
    return now
