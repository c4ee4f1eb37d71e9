"""The table of refusals."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fcemu.errors import ConfigError, FCError, Finding, Refusal


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.name)
def test_row_is_complete(refusal: Refusal) -> None:
    """Every row has a status, a code in the vendor's spelling, and a message that can be filled in."""
    row = refusal.value
    assert row.status in (200, 400, 401, 403, 404, 412, 429, 500, 502, 503)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", row.code)
    names = re.findall(r"\{(\w+)", row.message)
    values: dict[str, Any] = {name: 1.5 if name in ("memory", "seconds") else name for name in names}
    error = FCError(refusal, **values)
    assert (error.status, error.code) == (row.status, row.code)
    assert "{" not in error.message


def test_only_answers_that_ran_the_function_are_billed() -> None:
    """Refusals before the function are free; errors after it ran are billed (PAGE, table)."""
    billed = {refusal.name for refusal in Refusal if refusal.value.billed}
    assert billed == {
        "EXTERNAL_REDIRECT", "APK_DOWNLOAD", "BAD_RESPONSE", "PROCESS_EXITED", "FUNCTION_TIMEOUT", "FUNCTION_OOM",
    }  # fmt: skip


def test_reason_and_remedy_stay_out_of_the_message() -> None:
    """Reason and remedy, which are for the log, are not in the message for the client."""
    error = FCError(Refusal.METHOD_NOT_ALLOWED, method="PUT", reason="secret", remedy="secret")
    assert "secret" not in error.message
    assert "secret" not in str(error)


def test_config_error_lists_every_finding() -> None:
    """A configuration error prints each finding with its file and line."""
    findings = [
        Finding("expected a number", ("timeout",), "a.yaml", 3),
        Finding("empty", file="a.yaml", line=1),
    ]
    assert str(ConfigError(findings)) == "a.yaml:3: timeout: expected a number\na.yaml:1: empty"
    assert ConfigError.exit_code == 2


def test_key_of_a_finding_reads_like_the_file() -> None:
    """List positions are in brackets, and an ambiguous key is in quotes."""
    assert Finding("", ("triggers", 0, "triggerConfig", "methods", 1)).key == "triggers[0].triggerConfig.methods[1]"
    assert Finding("", ("environmentVariables", "A B")).key == "environmentVariables.'A B'"
    assert Finding("").key == ""


def test_refusal_can_be_given_again() -> None:
    """An error can be repeated for another request with its own reason, and the same message and remedy."""
    error = FCError(Refusal.METHOD_NOT_ALLOWED, method="PUT", reason="one", remedy="add PUT")
    again = error.with_reason("two")
    assert (again.status, again.message, again.remedy, again.reason) == (
        error.status, error.message, "add PUT", "two",
    )  # fmt: skip
