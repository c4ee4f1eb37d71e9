"""All models are frozen, and do not show their secrets."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from fcemu.errors import Finding
from fcemu.model import (
    AccessKey,
)
from fcemu.model.base import HEADER_NAME, Text, as_error, require_unique
from tests.unit.model.builders import function


def test_models_are_frozen() -> None:
    """A model refuses assignment."""
    with pytest.raises(ValidationError):
        function().timeout = 5  # type: ignore[misc]


def test_secrets_are_not_shown() -> None:
    """A key pair's repr keeps its secret."""
    shown = repr(AccessKey(accessKeyId="id", accessKeySecret="hush", securityToken="quiet"))
    assert "id" in shown
    assert "hush" not in shown
    assert "quiet" not in shown


def test_bare_number_is_a_text() -> None:
    """A YAML number is accepted where the API expects a string; a boolean is not."""
    assert TypeAdapter(Text).validate_python(3) == "3"
    assert TypeAdapter(Text).validate_python("x") == "x"
    with pytest.raises(ValidationError):
        TypeAdapter(Text).validate_python(True)


def test_one_error_carries_all_findings() -> None:
    """The error of a validator has all findings, each with its own path."""
    findings = [Finding("first", ("a",)), Finding("second")]
    error = as_error(findings)
    assert (str(error), error.type) == ("first; second", "value_error")
    assert error.context == {"text": "first; second", "findings": findings}
    assert as_error(findings, "jwk").type == "jwk"


def test_repeated_value_is_found_at_each_repetition() -> None:
    """Items that differ in a key are accepted; each repetition of a value is a finding."""
    keys = [AccessKey(accessKeyId=id, accessKeySecret="s") for id in ("a", "b")]
    assert require_unique(keys, "accessKeyId") == keys
    with pytest.raises(PydanticCustomError) as error:
        require_unique([*keys, keys[0], keys[0]], "accessKeyId")
    assert error.value.context is not None
    assert [finding.path for finding in error.value.context["findings"]] == [(2, "accessKeyId"), (3, "accessKeyId")]


@pytest.mark.parametrize(
    ("name", "fits"), [("X-Token", True), ("a_b", True), ("a b", False), ("ä", False), ("", False)]
)
def test_header_names_are_tokens(name: str, fits: bool) -> None:
    """The name of a header or cookie is a token of RFC 9110."""
    assert bool(HEADER_NAME.fullmatch(name)) is fits
