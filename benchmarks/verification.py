"""What does it cost to let a request in? Tokens beside PyJWT's own verification, and signatures; µs of CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

import jwt

from benchmarks.fronts import KEY, PAIR
from fcemu import sign
from fcemu.model import JwtAuthConfig
from fcemu.trigger.jwt_auth import JwtAuthenticator
from fcemu.trigger.request import RequestHead
from fcemu.trigger.signature import SignatureAuthenticator

_BATCH = 200
"""Verifications that are timed together."""


@dataclass(frozen=True)
class Prices:
    """Microseconds each; `ratio` is that of fcemu to PyJWT, round by round."""

    pyjwt: float
    token: float
    ratio: float
    signature: float


def prices(rounds: int) -> Prices:
    """Verify the same token in turns with PyJWT (ES256, its times checked) and with fcemu, and a signature."""
    now = time.time()
    token = PAIR.token({"sub": "bench"}, now)
    jwks = PAIR.jwks()
    key = jwt.PyJWK(jwks["keys"][0]).key
    by_token = JwtAuthenticator(JwtAuthConfig.model_validate({"jwks": jwks}))
    with_token = (("Host", "jwt.localhost"), ("Authorization", f"Bearer {token}"))
    url = "http://signed.localhost/"
    by_signature = SignatureAuthenticator({KEY.accessKeyId: KEY})
    with_signature = (("Host", urlsplit(url).netloc), *sign("GET", url, KEY, now).headers)
    theirs, ours, signatures = [], [], []
    for _ in range(rounds + 1):
        theirs.append(_timed(lambda: jwt.decode(token, key, algorithms=["ES256"])))
        ours.append(_timed(lambda: by_token.authenticate(_head(with_token), None, now)))
        signatures.append(_timed(lambda: by_signature.authenticate(_head(with_signature), None, now)))
    ratio = median(our / their for our, their in zip(ours[1:], theirs[1:], strict=True))
    return Prices(median(theirs[1:]), median(ours[1:]), ratio, median(signatures[1:]))


def _head(headers: tuple[tuple[str, str], ...]) -> RequestHead:
    """A head of its own for each request: it keeps what it has been asked."""
    return RequestHead("GET", "/", tuple((name.encode(), value.encode()) for name, value in headers))


def _timed(verify: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(_BATCH):
        verify()
    return (time.process_time() - began) / _BATCH * 1e6
