"""Is a request signed by a known key, and recently? All schemes of the vendor's clients (semantics 3).

===================  ==============================================  ==================================
`Authorization:`      clients                                        what is signed
===================  ==============================================  ==================================
`ACS3-HMAC-SHA256 …`  FC 3.0: the documentation's samples, API SDKs    method, path, query, listed headers
`FC ak:sig`           FC 2.0 SDKs                                      method, path, query, `x-fc-*`
`acs ak:sig`          openapi-util's ROA functions                     method, path, query, `x-acs-*`
none, but the query   FC 2.0's pre-signed URL                          as `FC`, expiry instead of a date
===================  ==============================================  ==================================

The official clients write the same request differently: path escaped or decoded, the first or the last of several
values, blank values kept or dropped. A server cannot know which client signed, so each way is tried, and one has to
match. None of them signs the body, except by the header `x-acs-content-sha256`.

All times are of the wall clock. Every failure is an `FCError`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fcemu.errors import FCError, Refusal
from fcemu.model import AccessKey
from fcemu.trigger.request import HeaderPairs, RequestHead

WINDOW = 900
"""Seconds that the date of a signed request may be in the past or in the future (PAGE, table; semantics 3.1)."""

Scheme = Literal["acs3", "fc", "presigned", "acs"]
SCHEMES: tuple[Scheme, ...] = ("acs3", "fc", "presigned", "acs")

Keys = Mapping[str, AccessKey]

_ACS3 = "ACS3-HMAC-SHA256"
_ACS3_FIELDS = re.compile(r"\s*Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-fA-F]{64})\s*")
_KEY_AND_SIGNATURE = re.compile(r"\s*([^:\s]+):([A-Za-z0-9+/=]+)\s*")
_SPECIAL = re.compile(r"[$+*%]")
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z")
# The ordinary API of FC 2.0 signs its path alone; HTTP triggers are below `proxy` (semantics 3.2).
_FC2_API = re.compile(r"/2016-08-15/(?!proxy/)")


class SignatureAuthenticator:
    """`authType: function`: requires a signature by one of the keys."""

    needs_body = False
    secret_parameters = frozenset(("x-fc-signature", "x-fc-security-token"))

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def authenticate(self, head: RequestHead, body: bytes | None, wall_now: float) -> tuple[RequestHead, bytes | None]:
        """The request, unchanged; raises what `verify` raises."""
        verify(head, self._keys, wall_now)
        return head, body


def verify(head: RequestHead, keys: Keys, wall_now: float) -> str:
    """The id of the key that signed the request.

    Args:
        keys: the known key pairs, by id.
        wall_now: seconds since 1970 UTC.

    Raises:
        FCError: MISSING_DATE, MISSING_AUTHORIZATION, REQUEST_EXPIRED, INVALID_ACCESS_KEY_ID or SIGNATURE_NOT_MATCH.
    """
    query = _pairs(head.query)
    if any(name == "x-fc-signature" for name, _ in query):
        return _verify_presigned(head, query, keys, wall_now)
    date = head.text(b"x-acs-date") or head.text(b"date")
    authorization = head.text(b"authorization")
    if date is None:
        raise FCError(Refusal.MISSING_DATE, reason="neither Date nor x-acs-date is there", remedy=_SIGN_IT)
    if authorization is None:
        raise FCError(Refusal.MISSING_AUTHORIZATION, remedy=_SIGN_IT)
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme == _ACS3:
        return _verify_acs3(head, rest, date, keys, wall_now)
    if scheme in ("FC", "acs"):
        match = _KEY_AND_SIGNATURE.fullmatch(rest)
        date = head.text(b"date")
        if match is None:
            raise _mismatch(f"the Authorization header is not `{scheme} <access key id>:<signature>`")
        if date is None:
            raise FCError(Refusal.MISSING_DATE, reason=f"scheme {scheme} signs the Date header", remedy=_SIGN_IT)
        _enforce_window(date, wall_now)
        key = _known(match[1], keys)
        _enforce_token(head.text(b"x-fc-security-token" if scheme == "FC" else b"x-acs-security-token"), key)
        candidates = _fc_strings(head, date) if scheme == "FC" else _acs_strings(head, date)
        digest = "sha256" if scheme == "FC" else "sha1"
        _compare(match[2], (_base64_hmac(key, text, digest) for text in candidates))
        return key.accessKeyId
    # The header may hold a secret, such as a bare token, so do not repeat it.
    raise _mismatch(f"the Authorization header begins with none of {_ACS3}, FC and acs")


@dataclass(frozen=True)
class Signed:
    """The signature of a request: headers to send, and its URL, which only `presigned` changes."""

    url: str
    headers: tuple[tuple[str, str], ...]


def sign(
    method: str,
    url: str,
    key: AccessKey,
    wall_now: float,
    *,
    scheme: Scheme = "acs3",
    headers: Mapping[str, str] | None = None,
    expires: int = WINDOW,
) -> Signed:
    """Sign a request as the vendor's clients do.

    Args:
        url: the request's URL; http(s) or ws(s).
        key: the key pair, with its STS token if it has one.
        wall_now: seconds since 1970 UTC.
        headers: the request's other headers; the scheme signs some of them.
        expires: seconds for which a pre-signed URL is valid.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"host": parts.netloc, **{name.lower(): value for name, value in (headers or {}).items()}}
    added: dict[str, str] = {}
    token = key.securityToken
    if scheme == "acs3":
        added["x-acs-date"] = datetime.fromtimestamp(int(wall_now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        added["x-acs-security-token"] = token or ""  # sent even when empty, as the documentation's samples do
        head = _head(method, target, sent | added)
        names = ";".join(sorted(name for name in sent | added if name.startswith("x-acs-")))
        signature = _hex_hmac(key, _acs3_string(head, names, next(_paths(head)), next(_queries(head))))
        added["Authorization"] = f"{_ACS3} Credential={key.accessKeyId},SignedHeaders={names},Signature={signature}"
    elif scheme == "presigned":
        more = {"x-fc-access-key-id": key.accessKeyId, "x-fc-expires": str(int(wall_now) + expires)}
        more |= {"x-fc-security-token": token} if token else {}
        target += ("&" if parts.query else "?") + "&".join(f"{k}={quote(v, safe='')}" for k, v in more.items())
        head = _head(method, target, sent)
        signature = _base64_hmac(key, _fc_string(head, more["x-fc-expires"], _pairs(head.query)), "sha256")
        target += f"&x-fc-signature={quote(signature, safe='')}"
    else:
        added["Date"] = date = formatdate(int(wall_now), usegmt=True)
        if scheme == "acs" and "accept" not in sent:
            added["Accept"] = "*/*"  # it is signed, and curl would send one of its own
        if token:
            added["x-fc-security-token" if scheme == "fc" else "x-acs-security-token"] = token
        head = _head(method, target, sent | added)
        if scheme == "fc":
            added["Authorization"] = (
                f"FC {key.accessKeyId}:{_base64_hmac(key, next(_fc_strings(head, date)), 'sha256')}"
            )
        else:
            added["Authorization"] = (
                f"acs {key.accessKeyId}:{_base64_hmac(key, next(_acs_strings(head, date)), 'sha1')}"
            )
    return Signed(parts._replace(path="", query="", fragment="").geturl() + target, tuple(added.items()))


# ---- the schemes


def _verify_acs3(head: RequestHead, rest: str, date: str, keys: Keys, wall_now: float) -> str:
    match = _ACS3_FIELDS.fullmatch(rest)
    if match is None:
        raise _mismatch("the Authorization header is not `Credential=…,SignedHeaders=…,Signature=<64 hex digits>`")
    access_key_id, names, signature = match.groups()
    carrier = "x-acs-date" if head.first(b"x-acs-date") is not None else "date"
    if carrier not in names.lower().split(";"):
        # Anyone could replace an unsigned date, and use the signature for ever.
        raise _mismatch(f"{carrier} is not among the SignedHeaders")
    _enforce_window(date, wall_now)
    key = _known(access_key_id, keys)
    _enforce_token(head.text(b"x-acs-security-token"), key)
    strings = dict.fromkeys(_acs3_string(head, names, path, query) for path in _paths(head) for query in _queries(head))
    _compare(signature.lower(), (_hex_hmac(key, text) for text in strings))
    return access_key_id


def _acs3_string(head: RequestHead, names: str, path: str, query: str) -> str:
    """The string to sign of ACS3 (D/06/05)."""
    headers = "".join(f"{name}:{_joined(head, name)}\n" for name in names.lower().split(";"))
    payload = head.text(b"x-acs-content-sha256") or ""
    canonical = f"{head.method}\n{path}\n{query}\n{headers}\n{names}\n{payload}"
    return f"{_ACS3}\n{hashlib.sha256(_bytes(canonical)).hexdigest()}"


def _joined(head: RequestHead, name: str) -> str:
    """The value of a signed header: trimmed; several values are sorted and joined."""
    key = name.encode("utf-8", "surrogateescape")
    if not head.repeated:
        return (head.text(key) or "").strip()
    return ",".join(sorted(value.decode("utf-8", "surrogateescape").strip() for value in head.values(key)))


def _paths(head: RequestHead) -> Iterator[str]:
    """The ways in which clients write the path: as sent, or decoded (Go and Java); `$` is escaped.

    All but Python also escape `+` and `*` and unescape `%7E`; Node does so only to the first of each.
    """
    if not _SPECIAL.search(head.path):
        yield head.path  # all clients write it alike
        return
    decoded = unquote(head.path, errors="surrogateescape")
    yield from dict.fromkeys(
        (head.path.replace("$", "%24"), _escaped(head.path, 1), decoded.replace("$", "%24"), _escaped(decoded, -1))
    )


def _escaped(path: str, count: int) -> str:
    for old, new in (("$", "%24"), ("+", "%20"), ("*", "%2A"), ("%7E", "~")):
        path = path.replace(old, new, count)
    return path


def _queries(head: RequestHead) -> Iterator[str]:
    """The ways in which clients write the query: first or last of several values, blank values kept or dropped."""
    if not head.query:
        yield ""
        return
    pairs = _pairs(head.query)
    ways: dict[str, None] = {}
    for kept in (pairs, [pair for pair in pairs if pair[1]]):
        for values in (dict(reversed(kept)), dict(kept)):
            ways["&".join(f"{name}={_encoded(value)}" for name, value in sorted(values.items()))] = None
    yield from ways


def _encoded(value: str) -> str:
    return quote(value, safe="-_.~", errors="surrogateescape")


def _verify_presigned(head: RequestHead, query: list[tuple[str, str]], keys: Keys, wall_now: float) -> str:
    values = dict(reversed(query))
    if sum(1 for name, _ in query if name == "x-fc-signature") > 1:
        raise _mismatch("x-fc-signature is in the query more than once")
    expires = values.get("x-fc-expires", "")
    if not re.fullmatch(r"[0-9]{1,11}", expires):
        raise _mismatch("x-fc-expires is not a time in seconds since 1970")
    if int(expires) < wall_now:
        late = _duration(wall_now - int(expires))
        raise _expired(int(expires), wall_now, f"the pre-signed URL expired {late} ago")
    key = _known(values.get("x-fc-access-key-id", ""), keys)
    _enforce_token(values.get("x-fc-security-token"), key)
    signed = [pair for pair in query if pair[0] != "x-fc-signature"]
    text = _fc_string(head, expires, signed)
    _compare(values["x-fc-signature"], [_base64_hmac(key, text, "sha256")])
    return key.accessKeyId


def _fc_strings(head: RequestHead, date: str) -> Iterator[str]:
    """The strings to sign of `FC`: with the query as for HTTP triggers; for the API's own paths also without."""
    yield _fc_string(head, date, _pairs(head.query))
    if _FC2_API.match(head.path):
        yield _fc_string(head, date, None)


def _fc_string(head: RequestHead, date: str, query: list[tuple[str, str]] | None) -> str:
    resource = unquote(head.path, errors="surrogateescape")
    if query is not None:
        resource += "\n" + "\n".join(sorted(f"{name}={value}" for name, value in query))
    lines = [head.method, head.text(b"content-md5") or "", head.text(b"content-type") or "", date]
    return "\n".join(lines) + "\n" + _prefixed(head, "x-fc-") + resource


def _acs_strings(head: RequestHead, date: str) -> Iterator[str]:
    """The strings to sign of `acs` (D/06/09): a blank value has no `=`, except in Node's."""
    first = sorted(dict(reversed(_pairs(head.query))).items())
    lines = [
        head.method, head.text(b"accept") or "", head.text(b"content-md5") or "",
        head.text(b"content-type") or "", date,
    ]  # fmt: skip
    unqueried = "\n".join(lines) + "\n" + _prefixed(head, "x-acs-") + head.path
    for equals in ("", "="):
        query = "&".join(f"{name}={value}" if value else name + equals for name, value in first)
        yield unqueried + (f"?{query}" if query else "")


def _prefixed(head: RequestHead, prefix: str) -> str:
    lines = (
        (name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape").strip())
        for name, value in head.headers
    )
    return "".join(f"{name}:{value}\n" for name, value in sorted(lines) if name.startswith(prefix))


# ---- what they share


_SIGN_IT = "sign the request (`fcemu sign` shows how), or set authType: anonymous"


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors="surrogateescape") if query else []


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hex_hmac(key: AccessKey, text: str) -> str:
    return hmac.digest(_bytes(key.accessKeySecret), _bytes(text), "sha256").hex()


def _base64_hmac(key: AccessKey, text: str, digest: str) -> str:
    return base64.b64encode(hmac.digest(_bytes(key.accessKeySecret), _bytes(text), digest)).decode()


def _compare(given: str, expected: Iterable[str]) -> None:
    """Refuse a signature that equals no candidate. All are compared in constant time, so that time reveals nothing."""
    matches = [hmac.compare_digest(_bytes(given), _bytes(candidate)) for candidate in expected]
    if not any(matches):
        raise _mismatch("the signature is not the one that this request and key make")


def _known(access_key_id: str, keys: Keys) -> AccessKey:
    if (key := keys.get(access_key_id)) is None:
        raise FCError(
            Refusal.INVALID_ACCESS_KEY_ID,
            access_key_id=access_key_id,
            reason=f"access key {access_key_id!r} is not configured",
            remedy="add it under `accessKeys:`, or sign with one of those that are there",
        )
    return key


def _enforce_token(token: str | None, key: AccessKey) -> None:
    if not hmac.compare_digest(_bytes(token or ""), _bytes(key.securityToken or "")):
        what = "carries none" if not token else "carries another" if key.securityToken else "carries one"
        owner = "has an STS token" if key.securityToken else "has no STS token"
        raise _mismatch(f"access key {key.accessKeyId!r} {owner}, but the request {what}")


def _enforce_window(date: str, wall_now: float) -> None:
    requested = _parse_date(date)
    if requested is None:
        raise _mismatch("the date of the request is neither RFC 1123 (GMT) nor ISO 8601 (UTC)")
    age = wall_now - requested
    if abs(age) > WINDOW:
        side = f"is {_duration(age)} old" if age > 0 else f"is {_duration(-age)} in the future"
        raise _expired(requested, wall_now, f"the date of the request {side}; allowed are {_duration(WINDOW)}")


def _parse_date(date: str) -> float | None:
    """Seconds since 1970 UTC, from one of the two forms that clients write; None for any other text."""
    try:
        if match := _ISO.fullmatch(date.strip()):
            whole = datetime.fromisoformat(match[1] + "Z").timestamp()
            return whole + float(match[2]) if match[2] else whole
        if date.strip().endswith("GMT"):
            return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    return None


def _expired(requested: float, wall_now: float, reason: str) -> FCError:
    return FCError(
        Refusal.REQUEST_EXPIRED,
        requested=formatdate(requested, usegmt=True),
        now=formatdate(wall_now, usegmt=True),
        reason=reason,
        remedy="sign again, and compare the clocks of the client and this machine",
    )


def _duration(seconds: float) -> str:
    """`16 min 2 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _mismatch(reason: str) -> FCError:
    return FCError(
        Refusal.SIGNATURE_NOT_MATCH,
        reason=reason,
        remedy="compare the client's string to sign and secret; `fcemu sign` prints what would be right",
    )


def _head(method: str, target: str, headers: Mapping[str, str]) -> RequestHead:
    pairs: HeaderPairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return RequestHead(method, target, pairs)
