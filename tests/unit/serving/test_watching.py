"""The paths that count as a function's code."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcemu.serving.watching import affected

CODE = {"fn": Path("/work/code")}


@pytest.mark.parametrize(
    "path",
    [
        "index.js",
        "src/deep/er.py",
        "bootstrap",
        "package.json",
        "package-lock.json",
        "requirements.txt",
        ".env",
        "dist/index.js",
        "target/server",
        "build/x.so",
        "views",
        "static/logo.png",
        "catalog",
        "logs/readme.md",
        "flash.swf",
        "py.typed",
        "database.js",
    ],
)
def test_code_matters(path: str) -> None:
    """Sources, what lists dependencies, compiled output, and files of unknown kind are code."""
    assert affected([f"/work/code/{path}"], CODE) == {"fn"}


@pytest.mark.parametrize(
    "path",
    [
        ".git/index.lock",
        ".hg/store",
        ".svn/wc.db",
        ".idea/workspace.xml",
        "web/.DS_Store",
        "node_modules/ws/index.js",
        "node_modules",
        ".venv/bin/python",
        "venv/lib/x.py",
        "pkg/__pycache__/x.cpython-311.pyc",
        "x.pyc",
        ".pytest_cache/v",
        ".mypy_cache/3.11/x.json",
        ".ruff_cache/x",
        ".cache/x",
        ".hypothesis/x",
        ".coverage",
        ".coverage.host.1",
        ".nyc_output/x.json",
        "htmlcov/index.html",
        ".index.js.swp",
        "src/.server.py.swx",
        "index.js~",
        "4913",
        ".#index.js",
        "#index.js#",
        "index.js___jb_tmp___",
        "index.js___jb_old___",
        ".index.js.kate-swp",
        "logs/access.log",
        "access.log.1",
        "data/app.sqlite3-journal",
        "app.sqlite",
        "app.db",
        "app.db-wal",
        "server.pid",
    ],
)
def test_what_comes_with_working_does_not_matter(path: str) -> None:
    """Version control, dependencies, caches, drafts and files that a running function writes are not code."""
    assert affected([f"/work/code/{path}"], CODE) == set()


@pytest.mark.parametrize(
    ("pattern", "path", "matters"),
    [
        ("uploads", "uploads/a.png", False),
        ("uploads", "web/uploads/a.png", False),
        ("uploads", "uploads.js", True),
        ("uploads/", "uploads/a.png", False),
        ("./uploads", "uploads/a.png", False),
        ("web/uploads", "web/uploads/deep/a.png", False),
        ("web/uploads", "other/web/uploads/a.png", True),
        ("*.html", "a/b/c.html", False),
        ("**/*.html", "c.html", False),
        ("test/*", "test/a/b.js", False),
        ("test/*", "src/test/b.js", True),
        ("test/**", "test/a/b.js", False),
        ("[ab].js", "src/b.js", False),
        ("a?.js", "a1.js", False),
        ("A.JS", "a.js", True),
        ("*", "index.js", False),
    ],
)
def test_further_patterns_are_obeyed(pattern: str, path: str, matters: bool) -> None:
    """A pattern matches a name at any depth, or a path relative to the code folder, with everything below it."""
    assert (affected([f"/work/code/{path}"], CODE, [pattern]) == {"fn"}) is matters


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/work/a/x.js"], {"a"}),
        (["/work/a/x.js", "/work/b/y.js"], {"a", "b"}),
        (["/work/a/inner/x.js"], {"a", "inner"}),
        (["/work/ab/x.js"], set()),
        (["/work/a"], set()),
        (["/work/a/trigger.yaml"], set()),
        (["/work/a/trigger.yaml", "/work/a/inner/trigger.yaml"], {"a", "inner"}),
        (["/elsewhere/x.js"], set()),
        ([], set()),
    ],
)
def test_function_is_named_by_its_folder(paths: list[str], names: set[str]) -> None:
    """Every function whose folder contains a changed file is named; the configuration counts as no function's code."""
    code = {"a": Path("/work/a"), "b": Path("/work/b"), "inner": Path("/work/a/inner")}
    assert affected(paths, code, apart=["/work/a/trigger.yaml"]) == names


def test_folder_above_does_not_count() -> None:
    """A code folder inside a folder with an ignored name still counts."""
    assert affected(["/home/venv/code/x.py"], {"fn": Path("/home/venv/code")}) == {"fn"}
