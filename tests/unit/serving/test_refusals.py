"""Refusals are stored, found, and explained."""

from __future__ import annotations

from pathlib import Path

from fcemu.journal import InvocationEnded, Notice
from fcemu.serving.refusals import Refusals, explained


def refused(request_id: str) -> InvocationEnded:
    """A refused request."""
    return InvocationEnded(
        wall_time=0.0, request_id=request_id, function="fn", qualifier="LATEST", method="GET", target="/x", kind="http",
        status=403, duration=0.0, error_code="AccessDenied", reason="the Date header is 16 min 2 s old",
        remedy="sign again",
    )  # fmt: skip


def test_refusal_is_found_by_its_request_id(tmp_path: Path) -> None:
    """A stored refusal is found again, by another reader, too."""
    Refusals(tmp_path / "fcemu").keep(refused("1-a"))
    Refusals(tmp_path / "fcemu").keep(refused("1-b"))
    assert Refusals(tmp_path / "fcemu").find("1-a") == refused("1-a")
    assert Refusals(tmp_path / "fcemu").find("1-c") is None


def test_what_is_no_refusal_is_not_kept(tmp_path: Path) -> None:
    """Other records are not stored."""
    Refusals(tmp_path / "fcemu").keep(Notice(0.0, "info", "x"))
    assert not (tmp_path / "fcemu").exists()


def test_file_is_private_and_bounded(tmp_path: Path) -> None:
    """Only the owner reads the file, and it does not grow without end."""
    refusals = Refusals(tmp_path)
    refusals.keep(refused("1-first"))
    file = tmp_path / "refusals.jsonl"
    assert file.stat().st_mode & 0o077 == 0
    file.write_text(file.read_text() + "x" * 1_000_001 + "\n")
    refusals.keep(refused("1-second"))
    assert file.stat().st_size < 1000
    assert refusals.find("1-first") == refused("1-first")


def test_explanation_is_in_plain_words() -> None:
    """An explanation has the request, the answer, the reason and the remedy."""
    assert explained(refused("1-a")).splitlines() == [
        "GET /x to fn, 1970-01-01 00:00:00 UTC",
        "answer: 403 AccessDenied",
        "reason: the Date header is 16 min 2 s old",
        "remedy: sign again",
    ]
