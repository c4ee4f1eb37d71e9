"""A key pair, its JWKS, and what it signs."""

from __future__ import annotations

import json

import pytest

from fcemu.clients.tokens import ALGORITHMS, KeyPair
from fcemu.errors import FCError
from fcemu.model import JwtAuthConfig
from fcemu.trigger.jwt_auth import JwtAuthenticator
from fcemu.trigger.request import RequestHead

NOW = 1_708_593_689.0


def passes(jwks: object, token: str, now: float = NOW) -> bool:
    """Whether a trigger with these keys lets the token in."""
    head = RequestHead("GET", "/", ((b"Authorization", f"Bearer {token}".encode()),))
    try:
        JwtAuthenticator(JwtAuthConfig.model_validate({"jwks": jwks})).authenticate(head, None, now)
    except FCError:
        return False
    return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_passes_a_trigger_with_its_jwks(algorithm: str) -> None:
    """A token of each algorithm is let in by the JWKS of its key pair, and by no other's."""
    pair = KeyPair.generate(algorithm, kid="k")
    token = pair.token({"sub": "me"}, NOW)
    assert passes(pair.jwks(), token)
    assert not passes(KeyPair.generate(algorithm, kid="k").jwks(), token)


def test_token_expires_when_it_says() -> None:
    """A token holds until its expiry, a negative one never, one without for ever."""
    pair = KeyPair.generate()
    assert passes(pair.jwks(), pair.token({}, NOW, expires=60), NOW + 59)
    assert not passes(pair.jwks(), pair.token({}, NOW, expires=60), NOW + 60)
    assert not passes(pair.jwks(), pair.token({}, NOW, expires=-1))
    assert passes(pair.jwks(), pair.token({}, NOW, expires=None), NOW + 1e9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_key_pair_survives_being_written(algorithm: str) -> None:
    """A key pair that was written and read signs the same."""
    pair = KeyPair.generate(algorithm)
    assert passes(pair.jwks(), KeyPair.from_json(pair.to_json()).token({}, NOW))


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if not name.startswith("HS")])
def test_jwks_holds_no_private_part(algorithm: str) -> None:
    """What is pasted into a configuration is the public key."""
    (jwk,) = KeyPair.generate(algorithm).jwks()["keys"]
    assert {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk) == set()


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"alg": "none", "kid": "k"})])
def test_file_that_is_no_key_is_refused(text: str) -> None:
    """What is no private JWK is a ValueError."""
    with pytest.raises(ValueError, match="not a private JWK"):
        KeyPair.from_json(text)


def test_unknown_algorithm_is_refused() -> None:
    """An algorithm that the cloud does not verify cannot be chosen."""
    with pytest.raises(ValueError, match="use one of"):
        KeyPair.generate("none")
