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
    # installed dependencies: an installation changes thousands of files. The files that list them are not ignored.
    "node_modules", ".venv", "venv",
    # made by running or testing the code
    "__pycache__", "*.py[co]", ".cache", ".*_cache", ".hypothesis", ".tox", ".nox", ".nyc_output", "htmlcov",
    ".coverage", ".coverage.*",
    # half-saved: vim, Emacs, JetBrains, Kate, GNOME
    ".*.sw?", "*~", "4913", ".#*", "#*#", "*___jb_*___", "*.kate-swp", ".goutputstream-*", "flycheck_*",
    # data that a function writes while it runs
    "*.log", "*.log.*", "*.pid", "*.sock", "*.db", "*.db-*", "*.sqlite*",
)  # fmt: skip
"""Files and folders whose changes never matter. Doubtful names are not listed: build output may be the code."""

_LOOK_EVERY = 0.5
"""Seconds between two looks at the configuration's files, which may be in any folder and are not watched."""

_SETTLE = 0.05
"""Seconds without a change after which a file counts as written."""


@dataclass(frozen=True)
class Changes:
    """What has changed since the previous report.

    Attributes:
        configuration: the configuration file or its `fcemu.envFile`.
        functions: names of the functions whose code has changed.
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
        ignored: patterns in addition to `IGNORED` (`fcemu.reloadIgnore`), each for the name of a file or folder or for
            a path relative to the code folder. `*` also matches `/`. Everything below an ignored folder is ignored.
        apart: files that are not code wherever they are, such as the configuration.
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
    """Report changes from the first `anext` on. A burst is reported once; changes between two calls are not lost.

    To end it, close it or cancel the waiting task. A code folder may be replaced as a whole, as builds do: that is
    reported when the folder exists again.

    Args:
        configuration, env_file: files, watched by name because editors replace a file by another one.
        code: each function's folder.
        ignored: as in `affected`.

    Raises:
        StartError: the folders cannot be watched; the text says what to do.
    """
    files = [Path(os.path.abspath(file)) for file in (configuration, env_file) if file is not None]
    apart = {os.path.realpath(file) for file in files} | {f"{os.path.realpath(f.parent)}/{f.name}" for f in files}
    folders = {name: Path(os.path.realpath(folder)) for name, folder in code.items()}
    seen = _versions(files)
    unheard: set[Path] = set()  # folders that were replaced, so that changes in them were not seen
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
    """Batches of changes in the folders, empty ones at intervals; ends if a folder disappears while it is scanned."""
    import watchfiles  # only --reload needs it

    batches = watchfiles.awatch(
        *folders,
        watch_filter=None,
        rust_timeout=int(_LOOK_EVERY * 1000),
        yield_on_timeout=True,
        # `ignore_permission_denied` would also hide that the limit of watches is reached.
    )
    try:
        async with contextlib.aclosing(batches):
            async for batch in batches:
                yield batch
    except FileNotFoundError:
        await asyncio.sleep(_SETTLE)
    except (OSError, RuntimeError) as error:
        remedy = "with WATCHFILES_FORCE_POLLING=1 in the environment they are scanned regularly instead"
        if "ermission denied" in str(error):
            remedy = "make that folder readable, or move it out of the code folder"
        raise StartError(f"the code cannot be watched for changes: {error}; {remedy}") from error


def _lasting(batch: Collection[FileChange]) -> set[str]:
    """The paths of a batch without short-lived files, such as the draft of an editor that saves by renaming."""
    added = {path for change, path in batch if change.name == "added"}
    deleted = {path for change, path in batch if change.name == "deleted"}
    return {path for _, path in batch} - {path for path in added & deleted if not os.path.lexists(path)}


def _inode(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return None


def _versions(files: Iterable[Path]) -> list[tuple[int, ...] | None]:
    """What changes when a file is written: time, size and inode; None if the file does not exist."""
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
    """The files' versions, once no file changes any more: half of a file is not a new version."""
    now = _versions(files)
    while now != before:
        await asyncio.sleep(_SETTLE)
        before, now = now, _versions(files)
    return now
