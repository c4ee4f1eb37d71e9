"""Which JWKs are accepted, and what they may verify."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from fcemu.model import jwks

RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA: dict[str, Any] = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
EC: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
OKP: dict[str, Any] = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
OCT: dict[str, Any] = {"kty": "oct", "k": "c2VjcmV0"}


def one(jwk: dict[str, Any]) -> tuple[str, tuple[str | int, ...]]:
    """The only finding about a key."""
    (finding,) = jwks.findings([jwk])
    return finding.text, finding.path


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (RSA, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        ({**RSA, "alg": "PS384"}, ["PS384"]),
        (EC, ["ES256"]),
        (ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True), ["ES384"]),
        (ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP521R1()).public_key(), as_dict=True), ["ES512"]),
        (OKP, ["EdDSA"]),
        (OCT, ["HS256", "HS384", "HS512"]),
        ({**OCT, "alg": "HS512", "use": "sig", "key_ops": ["sign", "verify"], "x5t": "ignored"}, ["HS512"]),
    ],
)
def test_key_decides_the_algorithms(jwk: dict[str, Any], algorithms: list[str]) -> None:
    """The type and curve of a key, and its own alg, say what it may verify."""
    assert jwks.findings([jwk]) == []
    assert list(jwks.verification_key(jwk).verifiers) == algorithms


@pytest.mark.parametrize(
    ("jwk", "path", "said"),
    [
        ({}, (0,), "`kty` is missing"),
        ({"kty": "RSAA"}, (0, "kty"), "expected RSA, EC, OKP, oct as `kty`, found `RSAA`"),
        ({"kty": []}, (0, "kty"), "a value that is not a string"),
        ({"kty": "EC\n"}, (0, "kty"), "another string"),
        ({"kty": "RSA", "n": RSA["n"]}, (0,), "`e` is missing"),
        ({**RSA, "n": RSA["n"] + "="}, (0, "n"), "base64url without padding"),
        ({**RSA, "n": 5}, (0, "n"), "base64url"),
        ({**RSA, "n": ""}, (0, "n"), "base64url"),
        ({**RSA, "e": "AA"}, (0,), "not a usable key"),
        ({**RSA, "d": "AQAB"}, (0, "d"), "paste the public key only"),
        ({**EC, "d": "AQAB"}, (0, "d"), "paste the public key only"),
        ({**OKP, "d": "AQAB"}, (0, "d"), "paste the public key only"),
        ({**RSA, "p": "AQAB"}, (0, "p"), "paste the public key only"),
        ({**EC, "crv": "secp256k1"}, (0, "crv"), "expected P-256, P-384, P-521 as `crv`"),
        ({"kty": "EC", "x": EC["x"], "y": EC["y"]}, (0,), "found nothing"),
        ({**EC, "y": EC["x"]}, (0,), "not a usable key"),
        ({**EC, "crv": "P-384"}, (0,), "not a usable key"),
        ({**OKP, "crv": "Ed448"}, (0, "crv"), "expected Ed25519"),
        (OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True), (0, "crv"), "Ed25519"),
        ({**OKP, "x": "AQAB"}, (0,), "not a usable key"),
        ({**RSA, "alg": "HS256"}, (0, "alg"), "found `HS256`"),
        ({**RSA, "alg": "none"}, (0, "alg"), "found `none`"),
        ({**RSA, "alg": ["RS256"]}, (0, "alg"), "a value that is not a string"),
        ({**EC, "alg": "ES384"}, (0, "alg"), "expected ES256"),
        ({**OCT, "alg": "RS256"}, (0, "alg"), "expected HS256, HS384, HS512"),
        ({**RSA, "use": "enc"}, (0, "use"), "expected `use: sig`, found `enc`"),
        ({**RSA, "key_ops": ["encrypt"]}, (0, "key_ops"), "`verify`"),
        ({**RSA, "key_ops": "verify"}, (0, "key_ops"), "must be a list"),
        ({**RSA, "kid": 5}, (0, "kid"), "must be a string"),
    ],
)
def test_unusable_key_is_a_finding(jwk: dict[str, Any], path: tuple[str | int, ...], said: str) -> None:
    """A key that is not a public key of a supported algorithm is a finding with its path."""
    text, place = one(jwk)
    assert place == path
    assert said in text


def test_pem_as_a_shared_secret_is_a_finding() -> None:
    """A public key in PEM form is not accepted as a shared secret, because anybody could sign with it."""
    import base64

    pem = b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
    text, _ = one({"kty": "oct", "k": base64.urlsafe_b64encode(pem).rstrip(b"=").decode()})
    assert text == "this is not a usable key"


def test_secret_is_not_in_a_finding() -> None:
    """A finding about a shared secret does not contain it."""
    findings = jwks.findings([{"kty": "oct", "k": "hush hush"}, {"k": "hush"}])
    assert all("hush" not in finding.text for finding in findings)


def test_one_key_may_lack_a_kid() -> None:
    """Of several keys at most one has no kid, or an empty one, and no two have the same."""
    assert jwks.findings([OCT, {**OCT, "kid": "a"}, {**OCT, "kid": "b"}]) == []
    assert [finding.path for finding in jwks.findings([OCT, {**OCT, "kid": ""}])] == [(1,)]
    assert [finding.path for finding in jwks.findings([{**OCT, "kid": "a"}, OCT, {**OCT, "kid": "a"}])] == [(2, "kid")]


@pytest.mark.parametrize("text", ["A", "AB=", "A+", "A/", "A B", "AB\n", "é", "QQ==", "QR"])
def test_other_forms_of_base64_are_refused(text: str) -> None:
    """A text that is not canonical base64url without padding is refused."""
    with pytest.raises(ValueError, match="base64url"):
        jwks.decode_base64url(text)


def test_base64url_is_decoded() -> None:
    """Canonical base64url is decoded."""
    assert (jwks.decode_base64url(""), jwks.decode_base64url("QQ"), jwks.decode_base64url("-_8")) == (
        b"",
        b"A",
        b"\xfb\xff",
    )
