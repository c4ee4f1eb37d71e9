"""Bearer authentication: a request with an enabled token is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fcemu.errors import FCError
from fcemu.model import BearerAuthConfig
from fcemu.trigger.bearer_auth import BearerAuthenticator
from fcemu.trigger.request import RequestHead

FIRST, SECOND, DISABLED = ("0123456789abcdef0123456789abcdef", "A-Za-z0-9+/=-~." * 3, "f" * 128)


def config(*tokens: dict[str, Any]) -> BearerAuthConfig:
    """A configuration with these tokens."""
    return BearerAuthConfig.model_validate({"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": list(tokens)}})


AUTHENTICATOR = BearerAuthenticator(
    config(
        {"enable": True, "tokenName": "first", "tokenData": FIRST},
        {"enable": True, "tokenName": "second", "tokenData": SECOND},
        {"enable": False, "tokenName": "old", "tokenData": DISABLED},
    )
)


def enter(*authorization: bytes) -> RequestHead:
    """Authenticate a request with these Authorization headers."""
    head = RequestHead("GET", "/", (*((b"Authorization", value) for value in authorization), (b"Host", b"x")))
    forwarded, body = AUTHENTICATOR.authenticate(head, b"body", 0.0)
    assert (forwarded, body) == (head, b"body")
    return forwarded


@pytest.mark.parametrize("token", [FIRST, SECOND])
def test_enabled_token_enters_and_is_passed_on(token: str) -> None:
    """Any enabled token is accepted, and the function sees its header."""
    assert enter(b"Bearer " + token.encode()).header("authorization") == f"Bearer {token}"
    assert (AUTHENTICATOR.needs_body, AUTHENTICATOR.secret_parameters) == (False, frozenset())


def test_missing_header_is_refused_with_the_documented_message() -> None:
    """Without an Authorization header the answer is 403 with the vendor's words."""
    with pytest.raises(FCError) as caught:
        enter()
    error = caught.value
    assert (error.status, error.code, error.billed) == (403, "AccessDenied", False)
    assert error.message == "Authorization header is expected but missing"
    assert error.remedy


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([b"Bearer " + DISABLED.encode()], "the token 'old' is disabled"),
        ([b"Bearer " + b"0" * 32], "no configured token"),
        ([b"Bearer "], "no configured token"),
        ([b"Bearer \xff\x00"], "no configured token"),
        ([b"Bearer  " + FIRST.encode()], "no configured token"),
        ([b"bearer " + FIRST.encode()], "does not start with 'Bearer '"),
        ([b"Basic " + FIRST.encode()], "does not start with 'Bearer '"),
        ([FIRST.encode()], "does not start with 'Bearer '"),
        ([b""], "does not start with 'Bearer '"),
        ([b"Bearer " + FIRST.encode()] * 2, "several Authorization headers"),
    ],
)
def test_other_credentials_are_refused(headers: list[bytes], reason: str) -> None:
    """A wrong, disabled, doubled or differently written token is 403; the log says why, without the token."""
    with pytest.raises(FCError) as caught:
        enter(*headers)
    error = caught.value
    assert (error.status, error.code) == (403, "AccessDenied")
    assert error.message == "access denied due to invalid bearer token"
    assert reason in error.reason
    assert all(token not in error.reason + error.remedy for token in (FIRST, SECOND, DISABLED, "0" * 32))


@given(st.lists(st.binary() | st.binary().map(b"Bearer ".__add__), max_size=3))
def test_any_bytes_are_refused_and_nothing_else(values: list[bytes]) -> None:
    """Arbitrary bytes as Authorization are refused, without another exception."""
    with pytest.raises(FCError):
        enter(*values)


@pytest.mark.parametrize(
    "data",
    [
        {"tokens": []},
        {"BearerFormat": "Opaque", "opaqueTokenConfig": {"tokens": []}},
        {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": []}},
        {"BearerFormat": "opaque"},
    ],
)
def test_other_forms_of_configuration_are_refused(data: dict[str, Any]) -> None:
    """Configurations that the API refuses are refused: the console's form, another spelling, no token."""
    with pytest.raises(ValidationError):
        BearerAuthConfig.model_validate(data)


@pytest.mark.parametrize("data", ["a" * 31, "a" * 129, "a" * 31 + " ", "a" * 31 + "_", "a" * 32 + "\n", ""])
def test_token_must_be_long_and_plain(data: str) -> None:
    """A token has 32 to 128 of the documented characters."""
    with pytest.raises(ValidationError, match="32 to 128"):
        config({"enable": True, "tokenName": "t", "tokenData": data})


def test_at_most_twenty_tokens_of_different_names() -> None:
    """There are at most 20 tokens, and no two have one name."""
    tokens = [{"enable": True, "tokenName": f"t{n}", "tokenData": "a" * 32} for n in range(21)]
    config(*tokens[:20])
    with pytest.raises(ValidationError, match="at most 20"):
        config(*tokens)
    with pytest.raises(ValidationError, match="'t0' is used twice"):
        config(tokens[0], tokens[0])


def test_tokens_are_not_shown() -> None:
    """The configuration's repr keeps the tokens."""
    shown = repr(config({"enable": True, "tokenName": "t", "tokenData": FIRST}))
    assert FIRST not in shown
