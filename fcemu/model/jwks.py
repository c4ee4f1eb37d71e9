"""The public keys in the JWKS of `authType: jwt`: validates them, and prepares them for use (D/06/04, RFC 7517).

`findings` reports what is wrong with keys when the configuration is loaded; `verification_key` accepts any key without
findings. PyJWT is imported on first use, because that takes longer than importing the rest of the configuration.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fcemu.errors import Finding

_RSA: tuple[str, ...] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_HMAC: tuple[str, ...] = ("HS256", "HS384", "HS512")

# D/06/04 lists RS, PS, ES and HS with 256, 384 and 512, and EdDSA; the curve decides the algorithm (RFC 7518 3.4).
_CURVES: dict[str, dict[str, tuple[str, ...]]] = {
    "EC": {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)},
    "OKP": {"Ed25519": ("EdDSA",)},
}
_MEMBERS = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",), "oct": ("k",)}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth")


@dataclass(frozen=True)
class VerificationKey:
    """A key that can verify signatures."""

    kid: str
    """Empty for the key of tokens without a `kid`."""
    verifiers: dict[str, Callable[[bytes, bytes], bool]]
    """By algorithm: a function of the signed bytes and the signature; True if the signature is valid."""


def decode_base64url(text: str) -> bytes:
    """Decode base64url in its only canonical form: no padding, no other characters, no stray bits.

    Raises:
        ValueError: the text has another form.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:
        raise ValueError("not canonical base64url")
    return content


def findings(keys: list[dict[str, Any]]) -> list[Finding]:
    """Everything that is wrong with a list of JWKs. The texts never contain the content of a key."""
    found: list[Finding] = []
    seen: dict[str, int] = {}
    for index, jwk in enumerate(keys):
        wrong = list(_of_key(jwk))
        if not wrong and (reason := _unusable(jwk)):
            wrong = [Finding(reason)]
        found += [replace(finding, path=(index, *finding.path)) for finding in wrong]
        kid = jwk.get("kid", "")
        if not isinstance(kid, str):
            found.append(Finding("`kid` must be a string", (index, "kid")))
        elif kid in seen and kid:
            text = f"the key at position {seen[kid] + 1} has the same `kid`; give each key its own"
            found.append(Finding(text, (index, "kid")))
        elif kid in seen:
            # D/06/04: at most one JWK without kid.
            text = f"the key at position {seen[kid] + 1} has no `kid` either, and at most one may lack it; add `kid: …`"
            found.append(Finding(text, (index,)))
        else:
            seen[kid] = index
    return found


def verification_key(jwk: dict[str, Any]) -> VerificationKey:
    """Prepare a JWK without findings."""
    from jwt.algorithms import get_default_algorithms

    known = get_default_algorithms()
    verifiers = {}
    for name in _algorithms(jwk):
        algorithm = known[name]
        verifiers[name] = _verifier(algorithm, algorithm.prepare_key(algorithm.from_jwk(jwk)))
    return VerificationKey(jwk.get("kid", ""), verifiers)


def _verifier(algorithm: Any, key: Any) -> Callable[[bytes, bytes], bool]:
    return lambda signed, signature: bool(algorithm.verify(signed, key, signature))


def _algorithms(jwk: dict[str, Any]) -> tuple[str, ...]:
    """The algorithms that the key may verify. The `alg` of a token can only choose among these, so `none`, or HS256
    with an RSA key, is never accepted."""
    match jwk["kty"]:
        case "RSA":
            possible = _RSA
        case "oct":
            possible = _HMAC
        case kind:
            possible = _CURVES[kind][jwk["crv"]]
    return (jwk["alg"],) if jwk.get("alg") else possible


def _of_key(jwk: dict[str, Any]) -> Iterator[Finding]:
    kind = jwk.get("kty")
    if kind is None:
        yield Finding("`kty` is missing; write a public key as a JWK, such as `{kty: RSA, n: …, e: AQAB}`", ())
        return
    if not isinstance(kind, str) or kind not in _MEMBERS:
        yield Finding(f"expected {', '.join(_MEMBERS)} as `kty`, found {_shown(kind)}", ("kty",))
        return
    for name in _MEMBERS[kind]:
        if name not in jwk:
            yield Finding(f"`{name}` is missing; a JWK with `kty: {kind}` needs it")
        elif not _is_base64url(jwk[name]):
            yield Finding(f"`{name}` must be base64url without padding: letters, digits, `-` and `_`", (name,))
    for name in _PRIVATE if kind != "oct" else ():
        if name in jwk:
            yield Finding(
                f"`{name}` is part of a private key, which can sign tokens; paste the public key only", (name,)
            )
    possible = _RSA if kind == "RSA" else _HMAC
    if kind in _CURVES:
        curve = jwk.get("crv")
        if not isinstance(curve, str) or curve not in _CURVES[kind]:
            text = f"expected {', '.join(_CURVES[kind])} as `crv` of `kty: {kind}`, found {_shown(curve)}"
            yield Finding(text, ("crv",) if curve is not None else ())
            possible = ()
        else:
            possible = _CURVES[kind][curve]
    if (algorithm := jwk.get("alg")) and possible and algorithm not in possible:
        yield Finding(f"expected {', '.join(possible)} as `alg` of this key, found {_shown(algorithm)}", ("alg",))
    if "use" in jwk and jwk["use"] != "sig":
        yield Finding(f"expected `use: sig`, found {_shown(jwk['use'])}: this key is not for signatures", ("use",))
    if "key_ops" in jwk and not (isinstance(jwk["key_ops"], list) and "verify" in jwk["key_ops"]):
        yield Finding("`key_ops` must be a list with `verify`: this key is not for verification", ("key_ops",))


def _is_base64url(value: object) -> bool:
    try:
        return isinstance(value, str) and len(decode_base64url(value)) > 0
    except ValueError:
        return False


def _unusable(jwk: dict[str, Any]) -> str:
    """Why a well-formed JWK is not a valid key, e.g. its point is not on the curve; empty if it is valid."""
    from jwt.exceptions import PyJWTError

    try:
        verification_key(jwk)
    except (PyJWTError, ValueError, TypeError, OverflowError) as error:
        # The message of the library may contain parts of the key: leave it out if the key is a secret.
        return "this is not a usable key" + (f": {error}" if jwk["kty"] != "oct" else "")
    return ""


def _shown(value: object) -> str:
    """A member that is not secret: short, on one line."""
    if not isinstance(value, str):
        return "nothing" if value is None else "a value that is not a string"
    return f"`{value}`" if value.isprintable() and len(value) <= 40 else "another string"
