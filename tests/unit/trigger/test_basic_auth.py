"""Basic authentication: a request with a user's name and password is accepted."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fcemu.errors import FCError
from fcemu.model import BasicAuthConfig
from fcemu.trigger.basic_auth import BasicAuthenticator
from fcemu.trigger.request import RequestHead

ADMIN, OPERATOR = "administrator:Correct-horse-1!", "the-operator-é:Staple*Battery2"


def config(*users: str) -> BasicAuthConfig:
    """A configuration with these users, each as `name:password`."""
    pairs = [user.split(":", 1) for user in users]
    return BasicAuthConfig.model_validate({"users": [{"userName": name, "password": word} for name, word in pairs]})


AUTHENTICATOR = BasicAuthenticator(config(ADMIN, OPERATOR))


def enter(*authorization: bytes) -> RequestHead:
    """Authenticate a request with these Authorization headers."""
    head = RequestHead("GET", "/", (*((b"authorization", value) for value in authorization), (b"Host", b"x")))
    forwarded, body = AUTHENTICATOR.authenticate(head, None, 0.0)
    assert (forwarded, body) == (head, None)
    return forwarded


def basic(credentials: str) -> bytes:
    """The Authorization header of these credentials."""
    return b"Basic " + base64.b64encode(credentials.encode())


@pytest.mark.parametrize("user", [ADMIN, OPERATOR])
def test_known_user_enters_and_is_passed_on(user: str) -> None:
    """Any configured user is accepted, and the function sees the header."""
    assert enter(basic(user)).header("authorization") == basic(user).decode()
    assert (AUTHENTICATOR.needs_body, AUTHENTICATOR.secret_parameters) == (False, frozenset())


@pytest.mark.parametrize(
    ("headers", "message", "reason"),
    [
        ([], "authorization require", "no Authorization header"),
        ([b"Bearer x"], "Authorization header must start with Basic", "does not start with 'Basic '"),
        ([b"basic " + basic(ADMIN)[6:]], "Authorization header must start with Basic", "does not start"),
        ([b"Basic x!{y}"], "basic authorization x!{y} is not base64 encoded string", "is not base64"),
        ([b"Basic \xff\n"], "basic authorization \ufffd\n is not base64 encoded string", "is not base64"),
        ([basic("administrator:wrong")], "access denied due to invalid user name or password", "no configured user"),
        ([basic("administrator")], "access denied due to invalid user name or password", "no configured user"),
        ([b"Basic "], "access denied due to invalid user name or password", "no configured user"),
        ([basic(ADMIN)] * 2, "access denied due to invalid user name or password", "several Authorization headers"),
    ],
)
def test_other_credentials_are_refused(headers: list[bytes], message: str, reason: str) -> None:
    """All other requests get 401 with the documented message, if any; the log says why, without a password."""
    with pytest.raises(FCError) as caught:
        enter(*headers)
    error = caught.value
    assert (error.status, error.code, error.billed) == (401, "AccessDenied", False)
    assert error.message == message
    assert reason in error.reason
    assert error.remedy
    assert "Correct-horse" not in error.reason + error.remedy
    assert "x!" not in error.reason


@given(st.lists(st.binary() | st.binary().map(b"Basic ".__add__), max_size=3))
def test_any_bytes_are_refused_and_nothing_else(values: list[bytes]) -> None:
    """Arbitrary bytes as Authorization are refused, without another exception."""
    with pytest.raises(FCError):
        enter(*values)


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("short:Correct-horse-1!", "at least 12"),
        ("u" * 129 + ":Correct-horse-1!", "at most 128"),
        ("administrator:Short-1!", "12 to 128"),
        ("administrator:correct-horse-1!", "upper-case"),
        ("administrator:CORRECT-HORSE-1!", "lower-case"),
        ("administrator:Correct-horse-!!", "digit"),
        ("administrator:Correct-horse-11", "one of"),
    ],
)
def test_users_must_be_as_documented(user: str, text: str) -> None:
    """Names have 12 to 128 characters, and so have passwords, of four kinds."""
    with pytest.raises(ValidationError, match=text):
        config(user)


@pytest.mark.parametrize("users", [[], [{"userName": "a:b-administrator", "password": "Correct-horse-1!"}], [{}]])
def test_users_must_be_complete(users: list[dict[str, Any]]) -> None:
    """There is at least one user, with a name without a colon and a password."""
    with pytest.raises(ValidationError):
        BasicAuthConfig.model_validate({"users": users})


def test_at_most_twenty_users_of_different_names() -> None:
    """There are at most 20 users, and no two have one name."""
    users = [f"administrator{n}:Correct-horse-1!" for n in range(21)]
    config(*users[:20])
    with pytest.raises(ValidationError, match="at most 20"):
        config(*users)
    with pytest.raises(ValidationError, match="'administrator0' is used twice"):
        config(users[0], users[0])


def test_passwords_are_not_shown() -> None:
    """The configuration's repr keeps the passwords."""
    assert "Correct-horse" not in repr(config(ADMIN))
