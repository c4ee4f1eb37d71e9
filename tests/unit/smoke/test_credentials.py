"""Credentials are added to requests; whether they are accepted is tested in `test_smoke.py`."""

from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest

from fcemu.clients.request import Request
from fcemu.clients.tokens import KeyPair
from fcemu.model import AccessKey, BasicAuthConfig, BearerAuthConfig, JwtAuthConfig
from fcemu.smoke.credentials import Credential, Identity, authorised, lookup, with_parameter
from fcemu.smoke.endpoints import Endpoint

PAIR = KeyPair.generate()
REQUEST = Request("GET", "fn.localhost", "/x?y=z", (("Upgrade", "websocket"),))


def endpoint(lookups: str, *methods: str, **config: Any) -> Endpoint:
    """An endpoint that reads tokens of PAIR where `lookups` says."""
    auth = JwtAuthConfig.model_validate({"jwks": PAIR.jwks(), "tokenLookup": lookups, **config})
    return Endpoint("fn", "fn.localhost", "/", methods or ("GET", "POST"), "jwt", auth, trigger="http")


def test_nothing_is_added_where_nothing_is_asked_for() -> None:
    """A request that needs no credentials, or should have none, stays as it is."""
    anonymous = Endpoint("fn", "fn.localhost", "/", ("GET",), "anonymous", None, trigger="http")
    assert authorised(REQUEST, anonymous, "right", Identity(), 0.0) is REQUEST
    assert authorised(REQUEST, None, "right", Identity(), 0.0) is REQUEST
    assert authorised(REQUEST, endpoint("header:Authorization"), "none", Identity(), 0.0) is REQUEST


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
    """Of several places for a token, one that works for sockets is chosen."""
    found = lookup(endpoint(lookups, *methods))
    assert (found.readPosition if found is not None else None) == position


def test_token_stands_in_its_place() -> None:
    """A token goes into a header with its prefix, into a cookie or a query by name, or into a form by POST."""
    identity = Identity(pair=PAIR)

    def given(lookups: str) -> Request:
        return authorised(REQUEST, endpoint(lookups), "right", identity, 1_700_000_000.0)

    name, value = given("header:X-Token:Bearer ").headers[-1]
    assert (name, value[:10]) == ("X-Token", "Bearer eyJ")
    name, value = given("cookie:session").headers[-1]
    assert (name, value[:11]) == ("Cookie", "session=eyJ")
    assert given("query:access token").target.startswith("/x?y=z&access%20token=eyJ")
    form = given("form:t")
    assert (form.method, form.body[:5], form.target) == ("POST", b"t=eyJ", "/x?y=z")
    assert ("Content-Type", "application/x-www-form-urlencoded") in form.headers


def test_parameter_is_the_first_or_one_more() -> None:
    """A parameter starts a query, or is appended to it."""
    assert with_parameter("/x", "a=b") == "/x?a=b"
    assert with_parameter("/x?", "a=b") == "/x?&a=b"
    assert with_parameter("/x?y", "a=b") == "/x?y&a=b"


KEY = AccessKey(accessKeyId="LTAI-local", accessKeySecret="secret")
FUNCTION = Endpoint("fn", "fn.localhost", "/", ("GET",), "function", None, trigger="http")
TOKENS = [
    {"enable": False, "tokenName": "old", "tokenData": "o" * 32},
    {"enable": True, "tokenName": "new", "tokenData": "n" * 32},
]
BEARER = BearerAuthConfig.model_validate({"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": TOKENS}})
BASIC = BasicAuthConfig.model_validate({"users": [{"userName": "somebody-here", "password": "Password-1234!"}]})
NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("credential", "key_id"), [("right", "LTAI-local"), ("wrong", "LTAI-local"), ("unknown", "fcemu-smoke-unknown")]
)
def test_request_is_signed(credential: Credential, key_id: str) -> None:
    """A request is signed with the key, with a wrong secret, or with an unknown key."""
    headers = dict(authorised(REQUEST, FUNCTION, credential, Identity(key=KEY), NOW).headers)
    assert key_id in headers["Authorization"]


def test_wrong_secret_and_an_expired_date_change_the_signature() -> None:
    """A wrong secret changes the signature, and an expired signature has a date outside the window."""
    credentials: tuple[Credential, ...] = ("right", "wrong", "expired")
    signed = [dict(authorised(REQUEST, FUNCTION, each, Identity(key=KEY), NOW).headers) for each in credentials]
    assert len({headers["Authorization"] for headers in signed}) == 3
    assert signed[0]["x-acs-date"] == signed[1]["x-acs-date"] != signed[2]["x-acs-date"]


@pytest.mark.parametrize(("credential", "identity"), [("date only", Identity(key=KEY)), ("right", Identity())])
def test_request_that_is_not_signed_has_a_date(credential: Credential, identity: Identity) -> None:
    """Without a key, or if only the date is wanted, the request is not signed."""
    added = authorised(REQUEST, FUNCTION, credential, identity, NOW).headers[1:]
    assert added == (("Date", "Tue, 14 Nov 2023 22:13:20 GMT"),)


@pytest.mark.parametrize(("credential", "token"), [("right", "n" * 32), ("disabled", "o" * 32)])
def test_opaque_token_is_the_configured_one(credential: Credential, token: str) -> None:
    """The right token is the enabled one; a disabled or unknown one is wrong."""
    endpoint = Endpoint("fn", "fn.localhost", "/", ("GET",), "bearer", BEARER, trigger="http")
    assert authorised(REQUEST, endpoint, credential, Identity(), NOW).headers[-1] == (
        "Authorization",
        f"Bearer {token}",
    )
    assert authorised(REQUEST, endpoint, "wrong", Identity(), NOW).headers[-1][1].startswith("Bearer fcemu-smoke-x")


@pytest.mark.parametrize(
    ("credential", "value"),
    [
        ("right", "Basic " + base64.b64encode(b"somebody-here:Password-1234!").decode()),
        ("wrong", "Basic " + base64.b64encode(b"somebody-here:fcemu-smoke-wrong").decode()),
        ("other scheme", "Bearer fcemu-smoke"),
        ("no base64", "Basic %%%"),
    ],
)
def test_user_and_password_are_those_of_the_first_user(credential: Credential, value: str) -> None:
    """Basic credentials are right, or have a wrong password, another scheme, or invalid base64."""
    endpoint = Endpoint("fn", "fn.localhost", "/", ("GET",), "basic", BASIC, trigger="http")
    assert authorised(REQUEST, endpoint, credential, Identity(), NOW).headers[-1] == ("Authorization", value)


@pytest.mark.parametrize("credential", ["wrong", "expired"])
def test_token_of_another_key_or_time_is_wrong(credential: Credential) -> None:
    """A wrong token is signed by the forger; an expired one by the right key, with a past `exp`."""
    forger = KeyPair.generate(kid=PAIR.kid)
    signer = forger if credential == "wrong" else PAIR
    request = authorised(REQUEST, endpoint("header:Authorization"), credential, Identity(pair=PAIR, forger=forger), NOW)
    jwk = jwt.PyJWKSet.from_dict(signer.jwks()).keys[0]
    token = request.headers[-1][1].removeprefix("Bearer ").strip()
    claims = jwt.decode(token, jwk, ["ES256"], options={"verify_exp": False, "verify_iat": False})
    assert (claims["exp"] < NOW) is (credential == "expired")


def test_door_of_another_kind_gets_the_plain_request() -> None:
    """An endpoint without a known configuration adds no credentials."""
    unknown = Endpoint("fn", "fn.localhost", "/", ("GET",), "jwt", None, trigger="http")
    assert authorised(REQUEST, unknown, "right", Identity(), NOW) is REQUEST
