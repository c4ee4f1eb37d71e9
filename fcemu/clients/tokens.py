"""Key pairs: they sign tokens that a JWT trigger accepts, and print the JWKS for its configuration (D/06/04)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "EdDSA",
)  # fmt: skip
"""The algorithms that the cloud accepts (D/06/04)."""


@dataclass(frozen=True)
class KeyPair:
    """A key that signs tokens of one algorithm.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        kid: the key id in the JWKS and in the tokens.
    """

    algorithm: str
    kid: str
    _key: Any

    @classmethod
    def generate(cls, algorithm: str = "ES256", kid: str | None = None) -> KeyPair:
        """Generate a key pair.

        Raises:
            ValueError: the algorithm is not in `ALGORITHMS`.
        """
        kid = kid or f"fcemu-{secrets.token_hex(4)}"
        if algorithm not in ALGORITHMS:
            raise ValueError(f"{algorithm} is not supported; use one of {', '.join(ALGORITHMS)}")
        key: Any
        match algorithm[:2]:
            case "RS" | "PS":
                key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            case "ES":
                key = ec.generate_private_key(_CURVES[algorithm])
            case "Ed":
                key = ed25519.Ed25519PrivateKey.generate()
            case _:
                key = secrets.token_bytes(int(algorithm[2:]) // 8)
        return cls(algorithm, kid, key)

    @classmethod
    def from_json(cls, text: str) -> KeyPair:
        """Load a key pair that `to_json` has written.

        Raises:
            ValueError: the text is not a private JWK.
        """
        try:
            jwk = json.loads(text)
            algorithm, kid = jwk["alg"], jwk["kid"]
            if algorithm not in ALGORITHMS:
                raise ValueError(f"alg {algorithm!r}")
            key = get_default_algorithms()[algorithm].from_jwk(jwk)
        except (ValueError, TypeError, KeyError, jwt.InvalidKeyError) as error:
            raise ValueError(f"not a private JWK with kid and alg: {error}") from error
        return cls(algorithm, kid, key)

    def to_json(self) -> str:
        """The private key as a JWK. Keep it secret: it can sign tokens."""
        return json.dumps({**self._jwk(self._key), "alg": self.algorithm, "kid": self.kid})

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The value for `authConfig.jwks`: the public key, or for HS* the secret itself."""
        public = self._key if isinstance(self._key, bytes) else self._key.public_key()
        jwk = {name: value for name, value in self._jwk(public).items() if name != "key_ops"}
        return {"keys": [{**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig"}]}

    def token(self, claims: Mapping[str, Any], wall_now: float, expires: float | None = 3600) -> str:
        """A signed token.

        Args:
            claims: the claims; they override `iat` and `exp`.
            wall_now: the time of issue, in seconds since 1970 UTC.
            expires: seconds until it expires; None for a token that does not expire.
        """
        times = {"iat": int(wall_now)} | ({} if expires is None else {"exp": int(wall_now + expires)})
        return jwt.encode({**times, **claims}, self._key, algorithm=self.algorithm, headers={"kid": self.kid})

    def _jwk(self, key: Any) -> dict[str, Any]:
        jwk: dict[str, Any] = get_default_algorithms()[self.algorithm].to_jwk(key, as_dict=True)
        return jwk
