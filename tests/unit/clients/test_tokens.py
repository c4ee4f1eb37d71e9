"""Key pairs, their JWKS, and their tokens."""

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
    """Whether a trigger with these keys accepts the token."""
    head = RequestHead("GET", "/", ((b"Authorization", f"Bearer {token}".encode()),))
    try:
        JwtAuthenticator(JwtAuthConfig.model_validate({"jwks": jwks})).authenticate(head, None, now)
    except FCError:
        return False
    return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_passes_a_trigger_with_its_jwks(algorithm: str) -> None:
    """A token of each algorithm is accepted with the JWKS of its key pair, and with no other."""
    pair = KeyPair.generate(algorithm, kid="k")
    token = pair.token({"sub": "me"}, NOW)
    assert passes(pair.jwks(), token)
    assert not passes(KeyPair.generate(algorithm, kid="k").jwks(), token)


def test_token_expires_when_it_says() -> None:
    """A token is valid until it expires: with a negative time never, without one forever."""
    pair = KeyPair.generate()
    assert passes(pair.jwks(), pair.token({}, NOW, expires=60), NOW + 59)
    assert not passes(pair.jwks(), pair.token({}, NOW, expires=60), NOW + 60)
    assert not passes(pair.jwks(), pair.token({}, NOW, expires=-1))
    assert passes(pair.jwks(), pair.token({}, NOW, expires=None), NOW + 1e9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_key_pair_survives_being_written(algorithm: str) -> None:
    """A key pair that was written and loaded signs the same tokens."""
    pair = KeyPair.generate(algorithm)
    assert passes(pair.jwks(), KeyPair.from_json(pair.to_json()).token({}, NOW))


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if not name.startswith("HS")])
def test_jwks_holds_no_private_part(algorithm: str) -> None:
    """The JWKS for a configuration has only the public key."""
    (jwk,) = KeyPair.generate(algorithm).jwks()["keys"]
    assert {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk) == set()


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"alg": "none", "kid": "k"})])
def test_file_that_is_no_key_is_refused(text: str) -> None:
    """A file that is not a private JWK is a ValueError."""
    with pytest.raises(ValueError, match="not a private JWK"):
        KeyPair.from_json(text)


def test_unknown_algorithm_is_refused() -> None:
    """An algorithm that the cloud does not support is refused."""
    with pytest.raises(ValueError, match="use one of"):
        KeyPair.generate("none")
