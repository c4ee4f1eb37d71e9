"""Which `authConfig` each type reads, and which ones are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from fcemu.model import (
    BasicAuthConfig,
    BearerAuthConfig,
    DomainAuthConfig,
    HttpTriggerConfig,
    JwtAuthConfig,
)
from fcemu.model.authentication import BasicUser, JwkSet, OpaqueToken

OCT = {"kty": "oct", "k": "aHVzaC1odXNo"}
JWT = {"jwks": {"keys": [OCT]}}
AUTH_CONFIGS: list[tuple[str, dict[str, Any], type]] = [
    ("jwt", JWT, JwtAuthConfig),
    ("basic", {"users": [{"userName": "administrator", "password": "hush-HUSH-1!"}]}, BasicAuthConfig),
    (
        "bearer",
        {
            "BearerFormat": "opaque",
            "opaqueTokenConfig": {"tokens": [{"enable": True, "tokenName": "a", "tokenData": "hush" * 8}]},
        },
        BearerAuthConfig,
    ),
]


@pytest.mark.parametrize(("auth_type", "config", "kind"), AUTH_CONFIGS)
def test_auth_config_is_read_by_its_type(auth_type: str, config: dict[str, Any], kind: type) -> None:
    """The authConfig of a trigger and the authInfo of a domain, a mapping or its JSON, are what their authType says."""
    for value in (config, json.dumps(config)):
        of_trigger = HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": auth_type, "authConfig": value})
        of_domain = DomainAuthConfig.model_validate({"authType": auth_type, "authInfo": value})
        assert isinstance(of_trigger.auth, kind)
        assert of_trigger.auth == of_domain.auth
        assert of_trigger.authConfig == of_domain.authInfo == value
        for shown in map(repr, (of_trigger, of_domain, of_trigger.auth)):
            assert "hush" not in shown
            assert OCT["k"] not in shown


@pytest.mark.parametrize("auth_type", ["anonymous", "function"])
def test_other_types_have_no_auth_config(auth_type: str) -> None:
    """A type without a configuration of its own has none, whatever is written there."""
    config = HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": auth_type, "authConfig": {"a": 1}})
    assert config.auth is None
    assert DomainAuthConfig().auth is None


@pytest.mark.parametrize("auth_type", ["jwt", "basic", "bearer"])
@pytest.mark.parametrize("value", [None, {}, "", "[1]", "{", {"tokens": []}, {"jwks": {}}])
def test_auth_config_that_lets_nobody_in_is_refused(auth_type: str, value: object) -> None:
    """A type that needs a configuration is refused without one, or with an incomplete one."""
    with pytest.raises(ValidationError):
        HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": auth_type, "authConfig": value})
    with pytest.raises(ValidationError):
        DomainAuthConfig.model_validate({"authType": auth_type, "authInfo": value})


def test_token_lookup_text_is_the_list() -> None:
    """The text form of tokenLookup equals its list form; a prefix keeps its spaces and may contain a colon."""
    text = JwtAuthConfig.model_validate(
        {**JWT, "tokenLookup": "header:A:Bearer: , cookie:t,query:q:,form:f"}
    ).tokenLookup
    places = [(place.readPosition, place.parameterName, place.prefix) for place in text]
    assert places == [("header", "A", "Bearer: "), ("cookie", "t", ""), ("query", "q", ""), ("form", "f", "")]
    listed = [{"readPosition": position, "parameterName": name, "prefix": prefix} for position, name, prefix in places]
    assert JwtAuthConfig.model_validate({**JWT, "tokenLookup": listed}).tokenLookup == text


def test_claim_pass_by_text_is_the_list() -> None:
    """The text form of claimPassBy equals its list form; fc3's `query::` is accepted."""
    passed = JwtAuthConfig.model_validate({**JWT, "claimPassBy": "header:uid:x-uid, query::"}).claimPassBy
    found = [(entry.mappingParameterPosition, entry.claimName, entry.mappingParameterName) for entry in passed]
    assert found == [("header", "uid", "x-uid"), ("query", "", "")]
    nothings: list[Any] = ["", " ", "query::", "query::adsa", []]
    for nothing in nothings:
        entries = JwtAuthConfig.model_validate({**JWT, "claimPassBy": nothing}).claimPassBy
        assert [entry for entry in entries if entry.claimName] == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tokenLookup", "", "position"),
        ("tokenLookup", [], "at least 1"),
        ("tokenLookup", 5, "list"),
        ("tokenLookup", "Header:A", "'header', 'cookie'"),
        ("tokenLookup", "header:a b", "cannot be the name of a header"),
        ("tokenLookup", "cookie:t:Bearer ", "a cookie cannot have a prefix"),
        ("claimPassBy", "header:sub", "position"),
        ("claimPassBy", "body:sub:x", "'header', 'cookie'"),
        ("claimPassBy", "header:sub:", "cannot be the name of a header"),
        ("claimPassBy", "query:sub:", "cannot be the name of a query"),
        ("claimPassBy", "header:sub:a b", "cannot be the name of a header"),
        ("claimPassBy", "cookie:sub:a=b", "cannot be the name of a cookie"),
        *[
            ("claimPassBy", f"header:sub:{name}", "the gateway sets the header")
            for name in ("host", "Content_Length", "COOKIE", "Sec-WebSocket-Key", "x-fc-account-id", "Upgrade")
        ],
        ("claimPassBy", "header:sub:x-id,header:uid:X_ID", "two claims cannot be passed in the same header"),
        ("whitelist", ["a"], "write `/a`"),
        ("blacklist", ["/a/*/b"], "only at the end"),
        ("whitelist", "/a", "list"),
        ("jwks", {"keys": []}, "at least 1"),
        ("jwks", "{}", "dictionary"),
    ],
)
def test_jwt_configuration_that_cannot_work_is_refused(key: str, value: object, said: str) -> None:
    """A lookup, a claim, a path or a key set that cannot work is refused, with the reason."""
    with pytest.raises(ValidationError, match=said):
        JwtAuthConfig.model_validate({**JWT, key: value})


def test_lists_exclude_each_other_in_both_spellings() -> None:
    """A whitelist and a blacklist exclude each other; an empty one does not count."""
    for names in (("whitelist", "blacklist"), ("whiteList", "blackList"), ("whitelist", "blackList")):
        with pytest.raises(ValidationError, match="exclude each other"):
            JwtAuthConfig.model_validate({**JWT, **{name: ["/a"] for name in names}})
    config = JwtAuthConfig.model_validate({**JWT, "whiteList": ["/a"], "blacklist": []})
    assert (config.whitelist, config.blacklist) == (["/a"], [])


def test_other_members_of_a_key_set_are_ignored() -> None:
    """Unknown members of a JWKS are ignored, as RFC 7517 requires."""
    assert JwtAuthConfig.model_validate({"jwks": {"keys": [{**OCT, "x-more": 1}], "issuer": "me"}}).jwks.keys


TOKEN = {"enable": True, "tokenName": "t", "tokenData": "x" * 32}


@pytest.mark.parametrize("data", ["x" * 31, "x" * 129, "x" * 31 + " ", "x" * 31 + "ä"])
def test_opaque_token_has_the_documented_characters(data: str) -> None:
    """An opaque token has 32 to 128 characters of a short list."""
    with pytest.raises(ValidationError, match="32 to 128 characters"):
        OpaqueToken.model_validate({**TOKEN, "tokenData": data})


@pytest.mark.parametrize(
    "password", ["Short-1", "no-capital-1!!", "NO-SMALL-1234!", "No-Digits-here!", "NoSpecial1234"]
)
def test_weak_password_is_refused(password: str) -> None:
    """A password of Basic authentication has all four kinds of characters, and at least 12 of them."""
    with pytest.raises(ValidationError, match="expected 12 to 128 characters"):
        BasicUser.model_validate({"userName": "somebody-here", "password": password})


def test_unusable_keys_are_found_with_the_configuration() -> None:
    """A JWK Set with a key that cannot verify is refused, and its finding says which one."""
    with pytest.raises(ValidationError) as error:
        JwkSet.model_validate({"keys": [{"kty": "oct", "k": "x"}, {"kty": "DSA"}]})
    (details,) = error.value.errors()
    assert (1, "kty") in [finding.path for finding in details["ctx"]["findings"]]
