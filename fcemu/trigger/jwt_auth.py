"""Does the request carry a valid token, signed by one of the configured keys? (D/06/04, D/06/08)

The order: the path needs a token → there is one → its form → its header (one that brings its own key is refused) → the
key of its `kid` → an algorithm of that key → the signature → times. The payload is not read before the signature is
verified. PyJWT verifies signatures; the rest is here, because the log needs the reason of a refusal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Any
from urllib.parse import unquote, unquote_plus

from fcemu.errors import FCError, Refusal
from fcemu.model import JwtAuthConfig, TokenLookup, jwks
from fcemu.trigger.claims import ClaimPasser, is_form
from fcemu.trigger.request import RequestHead

LONGEST_TOKEN = 8 * 1024
"""Bytes of the longest token: what fits into a request's headers (D/04/002). INF; a form could carry more."""

# RFC 7515 4.1: headers that let a token choose its own key, or that require an extension we do not know.
_REFUSED_HEADERS = ("jwk", "jku", "x5u", "x5c", "crit", "b64")

_DEEPEST = 100
"""Levels of objects and lists inside each other: a claim must be writable as JSON again."""

_LATEST = 2**53
"""The largest number that counts as a time; a float does not hold larger ones exactly."""


class JwtAuthenticator:
    """Requires a valid token.

    Attributes:
        needs_body: a form parameter is read or set, so the body has to be read first.
        secret_parameters: the query parameters that hold the token; their values must not appear in a log.
    """

    def __init__(self, config: JwtAuthConfig) -> None:
        self._keys = {key.kid: key for key in map(jwks.verification_key, config.jwks.keys)}
        self._lookups = config.tokenLookup
        self._open = [unquote(entry) for entry in config.whitelist]
        self._closed = [unquote(entry) for entry in config.blacklist]
        self._claims = ClaimPasser(config.claimPassBy)
        self.needs_body = self._claims.needs_body or any(lookup.readPosition == "form" for lookup in self._lookups)
        self.secret_parameters = frozenset(
            lookup.parameterName for lookup in self._lookups if lookup.readPosition == "query"
        )

    def authenticate(self, head: RequestHead, body: bytes | None, wall_now: float) -> tuple[RequestHead, bytes | None]:
        """The request to forward, with the token's claims in it.

        Args:
            body: the whole body of a form if `needs_body`; otherwise it may be None, and is returned unchanged.
            wall_now: seconds since 1970 UTC.

        Raises:
            FCError: JWT_TOKEN_IS_MISSING or JWT_TOKEN_INVALID; the reason says which rule the token breaks.
        """
        claims: dict[str, Any] = {}
        if self._needs_token(head.path):
            token, place = self._token(head, body)
            claims = self._verified(token, place, wall_now)
        return self._claims.apply(head, body, claims)

    def _needs_token(self, path: str) -> bool:
        """Match modes of D/06/04. If servers may read a path differently, the reading that needs a token counts."""
        readings = _readings(path)
        if self._open:
            return not all(any(_matches(entry, reading) for entry in self._open) for reading in readings)
        if self._closed:
            return any(_matches(entry, reading) for entry in self._closed for reading in readings)
        return True

    def _token(self, head: RequestHead, body: bytes | None) -> tuple[str, str]:
        """The first token, in the order of `tokenLookup`, and where it was."""
        for lookup in self._lookups:
            for value in _values(lookup, head, body):
                # A value with another prefix counts as no token (INF), as in echo's middleware (semantics 4.1).
                if value.startswith(lookup.prefix) and (token := value.removeprefix(lookup.prefix)):
                    return token, f"{lookup.readPosition} {lookup.parameterName}"
        places = " or ".join(
            f"{lookup.readPosition} {lookup.parameterName}" + (f" with prefix {lookup.prefix!r}" * bool(lookup.prefix))
            for lookup in self._lookups
        )
        raise FCError(
            Refusal.JWT_TOKEN_IS_MISSING,
            reason=f"no token in {places}",
            remedy="send the token there, with exactly this prefix, or change tokenLookup",
        )

    def _verified(self, token: str, place: str, wall_now: float) -> dict[str, Any]:
        """The claims of a token.

        Raises:
            FCError: JWT_TOKEN_INVALID.
        """
        try:
            return self._claims_of(token, wall_now)
        except _Refused as refused:
            raise FCError(
                Refusal.JWT_TOKEN_INVALID,
                reason=f"the token in {place} {refused}",
                remedy=refused.remedy,
            ) from None

    def _claims_of(self, token: str, wall_now: float) -> dict[str, Any]:
        size = len(token.encode("utf-8", "surrogatepass"))
        if size > LONGEST_TOKEN:
            raise _Refused(f"is {size} bytes long; at most {LONGEST_TOKEN} are read", "put fewer claims into the token")
        parts = token.split(".")
        if len(parts) != 3:
            raise _Refused(f"has {len(parts)} parts instead of three with dots between them", _NOT_A_JWT)
        header_part, payload_part, signature = (
            _part(part, name) for part, name in zip(parts, ("header", "payload", "signature"), strict=True)
        )
        header = _object(header_part, "header")
        verify = self._verifier(header)
        try:
            genuine = verify(f"{parts[0]}.{parts[1]}".encode(), signature)
        except (ValueError, TypeError, OverflowError):
            genuine = False
        if not genuine:
            kid = header.get("kid")
            key = f"the JWK with kid {_shown(kid)}" if kid else "the JWK without kid"
            raise _Refused(
                f"has a signature that {key} did not make", "sign with the private key that belongs to this JWK"
            )
        claims = _object(payload_part, "payload")
        _enforce_times(claims, wall_now)
        return claims

    def _verifier(self, header: dict[str, Any]) -> Any:
        """How to verify a signature. The configuration decides; the token only names one of its keys."""
        for name in _REFUSED_HEADERS:
            if name in header:
                raise _Refused(
                    f"has the header `{name}`, which is never accepted: keys come from `jwks` only",
                    f"sign without `{name}`",
                )
        kid = header.get("kid", "")
        if not isinstance(kid, str):
            raise _Refused("has a kid that is not a text", "write the kid of a JWK")
        key = self._keys.get(kid)
        if key is None:
            known = ", ".join(_shown(kid) if kid else "none" for kid in self._keys)
            named = f"names the kid {_shown(kid)}" if kid else "names no kid"
            raise _Refused(
                f"{named}; the kids of the JWKs are: {known}", "sign with one of these keys and name its kid"
            )
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in key.verifiers:
            allowed = ", ".join(key.verifiers)
            raise _Refused(f"has alg {_shown(algorithm)}; its key takes {allowed}", f"sign with {allowed}")
        return key.verifiers[algorithm]


_NOT_A_JWT = "send a signed JWT (RFC 7519): header.payload.signature"


class _Refused(Exception):
    """Why a token is refused, as the end of a sentence. It never contains the token or its claims."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(reason)


def _enforce_times(claims: dict[str, Any], wall_now: float) -> None:
    """Refuse a token outside its times (RFC 7519 4.1.4-4.1.6), without leeway (INF). One without times is valid."""
    times: dict[str, int | float] = {}
    for name in ("exp", "nbf", "iat"):
        if name in claims:
            value = claims[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not abs(value) <= _LATEST:  # written so that NaN is refused, too
                raise _Refused(f"has an `{name}` that is no time", f"write seconds since 1970 UTC as `{name}`")
            times[name] = value
    if "exp" in times and wall_now >= times["exp"]:
        raise _Refused(f"expired {_span(wall_now - times['exp'])} ago", "get a new token")
    if "nbf" in times and wall_now < times["nbf"]:
        raise _Refused(f"is valid only in {_span(times['nbf'] - wall_now)} (nbf)", "wait, or compare the clocks")
    if "iat" in times and wall_now < times["iat"]:
        raise _Refused(f"was issued {_span(times['iat'] - wall_now)} in the future (iat)", "compare the clocks")


def _span(seconds: float) -> str:
    """A span of time in its two largest units: `16 min 2 s`."""
    rest, parts = int(seconds), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "less than 1 s"


def _part(text: str, name: str) -> bytes:
    try:
        return jwks.decode_base64url(text)
    except ValueError:
        raise _Refused(f"has a {name} that is not base64url", _NOT_A_JWT) from None


def _object(content: bytes, name: str) -> dict[str, Any]:
    """A JSON object that all readers understand alike."""
    if max(accumulate((byte in b"[{") - (byte in b"]}") for byte in content), default=0) > _DEEPEST:
        raise _Refused(f"has a {name} that is nested too deeply", _NOT_A_JWT)
    try:
        value = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Refused(f"has a {name} that is not valid JSON, or names a member twice", _NOT_A_JWT) from None
    if not isinstance(value, dict):
        raise _Refused(f"has a {name} that is not a JSON object", _NOT_A_JWT)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _shown(value: object) -> str:
    """A member of the token's header, shortened, on one line."""
    if not isinstance(value, str):
        return "nothing" if value is None else "something that is not a text"
    return json.dumps(value if len(value) <= 40 else f"{value[:37]}...")


# ---- where a token is, and which paths need one


def _values(lookup: TokenLookup, head: RequestHead, body: bytes | None) -> Iterator[str]:
    """The values at one place of `tokenLookup`."""
    name = lookup.parameterName
    match lookup.readPosition:
        case "header":
            for key, value in head.headers:
                if key.lower() == name.lower().encode():
                    yield value.decode("utf-8", "surrogateescape")
        case "cookie":
            for key, value in head.headers:
                for crumb in value.decode("utf-8", "surrogateescape").split(";") if key.lower() == b"cookie" else ():
                    cookie, _, content = crumb.strip().partition("=")
                    if cookie == name:
                        yield content.removeprefix('"').removesuffix('"')
        case "query":
            yield from _parameters(head.query, name)
        case "form" if head.method == "POST" and body and is_form(head):
            yield from _parameters(body.decode("utf-8", "surrogateescape"), name)


def _parameters(text: str, name: str) -> Iterator[str]:
    for segment in text.split("&"):
        key, _, value = segment.partition("=")
        if unquote_plus(key) == name:
            yield unquote_plus(value)


def _readings(path: str) -> set[str]:
    """A path as servers may read it: decoded; and also without dot segments, empty segments and `;` parameters."""
    plain = unquote(path)
    segments: list[str] = []
    for segment in plain.replace("\\", "/").split("/"):
        segment = segment.partition(";")[0]
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    folder = plain.endswith(("/", "/.", "/..")) and segments
    return {plain, "/" + "/".join(segments) + ("/" if folder else "")}


def _matches(entry: str, path: str) -> bool:
    """An exact path, or a prefix before the `*` (D/06/04)."""
    return path.startswith(entry[:-1]) if entry.endswith("*") else path == entry
