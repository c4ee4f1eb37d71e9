"""What a request is given to say who sends it; whether that convinces is `test_smoke.py`'s."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.clients.request import Request
from fcemu.clients.tokens import KeyPair
from fcemu.model import JwtAuthConfig
from fcemu.smoke.credentials import Identity, authorised, lookup, with_parameter
from fcemu.smoke.doors import Door

PAIR = KeyPair.generate()
REQUEST = Request("GET", "fn.localhost", "/x?y=z", (("Upgrade", "websocket"),))


def door(lookups: str, *methods: str, **config: Any) -> Door:
    """A door that takes tokens of PAIR where `lookups` says."""
    auth = JwtAuthConfig.model_validate({"jwks": PAIR.jwks(), "tokenLookup": lookups, **config})
    return Door("fn", "fn.localhost", "/", methods or ("GET", "POST"), "jwt", auth, trigger="http")


def test_nothing_is_added_where_nothing_is_asked_for() -> None:
    """Whoever says nothing of himself, or need not, sends the request as it is."""
    anonymous = Door("fn", "fn.localhost", "/", ("GET",), "anonymous", None, trigger="http")
    assert authorised(REQUEST, anonymous, "right", Identity(), 0.0) is REQUEST
    assert authorised(REQUEST, None, "right", Identity(), 0.0) is REQUEST
    assert authorised(REQUEST, door("header:Authorization"), "none", Identity(), 0.0) is REQUEST


@pytest.mark.parametrize(
    ("lookups", "methods", "position"),
    [
        ("form:t,query:t,header:X-Token", ("GET", "POST"), "header"),
        ("form:t,query:t,cookie:t", ("GET", "POST"), "cookie"),
        ("form:t,query:t", ("POST",), "query"),
        ("form:t", ("POST",), "form"),
        ("form:t", ("GET",), None),
    ],
)
def test_token_is_put_where_it_is_no_trouble(lookups: str, methods: tuple[str, ...], position: str | None) -> None:
    """Of several places the one is chosen that works for sockets, too."""
    found = lookup(door(lookups, *methods))
    assert (found.readPosition if found is not None else None) == position


def test_token_stands_in_its_place() -> None:
    """A header gets the token with its prefix, a cookie and a query by their names; a form makes it a POST."""
    identity = Identity(pair=PAIR)

    def given(lookups: str) -> Request:
        return authorised(REQUEST, door(lookups), "right", identity, 1_700_000_000.0)

    name, value = given("header:X-Token:Bearer ").headers[-1]
    assert (name, value[:10]) == ("X-Token", "Bearer eyJ")
    name, value = given("cookie:session").headers[-1]
    assert (name, value[:11]) == ("Cookie", "session=eyJ")
    assert given("query:access token").target.startswith("/x?y=z&access%20token=eyJ")
    form = given("form:t")
    assert (form.method, form.body[:5], form.target) == ("POST", b"t=eyJ", "/x?y=z")
    assert ("Content-Type", "application/x-www-form-urlencoded") in form.headers


def test_parameter_is_the_first_or_one_more() -> None:
    """A parameter begins a query, or goes on with it."""
    assert with_parameter("/x", "a=b") == "/x?a=b"
    assert with_parameter("/x?", "a=b") == "/x?&a=b"
    assert with_parameter("/x?y", "a=b") == "/x?y&a=b"
