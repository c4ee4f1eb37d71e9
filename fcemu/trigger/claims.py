"""How does a function get the claims of a token? `claimPassBy`: in headers, cookies, the query or a form (D/06/04).

The function trusts these parameters, so a client must not be able to send them itself, or to make a server read another
value. First each configured name is removed from the request, in every spelling that a server may take for it. This
holds for paths that need no token and for tokens that lack the claim, too. Then ours is set, before all others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from fcemu.errors import FCError, Refusal
from fcemu.model import ClaimPassBy, Position
from fcemu.trigger.request import HeaderPairs, RequestHead

_SEGMENT = re.compile(rb"[^&;]+")  # until 2014 `;` separated parameters, too, and it still does in older servers
_FORM = re.compile(rb"application/x-www-form-urlencoded\s*(;\s*charset=\"?(utf-8|us-ascii|iso-8859-1)\"?\s*)?", re.I)

# Characters of a cookie that decodeURIComponent() and a server that decodes nothing read alike.
_PLAIN_IN_COOKIES = "-_.!~*'()@:/"


class ClaimPasser:
    """Applies one `claimPassBy` to requests.

    Attributes:
        needs_body: a claim is passed in a form parameter, so the body has to be read first.
    """

    def __init__(self, entries: list[ClaimPassBy]) -> None:
        self._entries = [entry for entry in entries if entry.claimName]
        self._headers = {header_key(name.encode()) for name in self._names("header")}
        self._cookies, self._query, self._form = (
            {_parameter_key(name.encode()) for name in self._names(position)}
            for position in ("cookie", "query", "form")
        )
        self.needs_body = bool(self._form)

    def apply(
        self, head: RequestHead, body: bytes | None, claims: Mapping[str, Any]
    ) -> tuple[RequestHead, bytes | None]:
        """The request and its body with our parameters: the client's own are removed, those of the claims are set.

        Raises:
            FCError: JWT_TOKEN_INVALID if the client's own cannot be removed from a form.
        """
        if not self._entries:
            return head, body
        target = self._with_query(head.target, claims)
        changed = self._with_form(head, body, claims) if self.needs_body else body
        pairs = self._with_cookies(self._without_headers(head.headers), self._values("cookie", claims, cookie_value))
        pairs += self._values("header", claims, header_value)
        if changed is not None and changed != (body or b""):
            pairs = _with_length(pairs, len(changed), head.is_chunked)
        return replace(head, target=target, headers=tuple(pairs)), changed

    def _names(self, position: str) -> list[str]:
        return [entry.mappingParameterName for entry in self._entries if entry.mappingParameterPosition == position]

    def _values(
        self, position: Position, claims: Mapping[str, Any], written: Callable[[Any], bytes]
    ) -> list[tuple[bytes, bytes]]:
        return [
            (entry.mappingParameterName.encode(), written(claims[entry.claimName]))
            for entry in self._entries
            if entry.mappingParameterPosition == position and claims.get(entry.claimName) is not None
        ]

    def _parameters(self, position: Position, claims: Mapping[str, Any]) -> bytes:
        pairs = self._values(position, claims, parameter_value)
        return b"&".join(b"%b=%b" % (_quoted(name.decode()), value) for name, value in pairs)

    def _with_query(self, target: str, claims: Mapping[str, Any]) -> str:
        path, mark, query = target.partition("?")
        raw = query.encode("utf-8", "surrogateescape")
        kept, ours = _without(raw, self._query), self._parameters("query", claims)
        if kept == raw and not ours:
            return target
        query = b"&".join(filter(None, (ours, kept))).decode("utf-8", "surrogateescape")
        return f"{path}?{query}" if query else path

    def _without_headers(self, pairs: HeaderPairs) -> list[tuple[bytes, bytes]]:
        kept = []
        for name, value in pairs:
            key = header_key(name)
            if key == b"connection":
                # The headers that Connection names are dropped later, ours included.
                options = value.split(b",")
                others = [option for option in options if header_key(option.strip()) not in self._headers]
                if others != options:
                    value = b",".join(others).strip()
            if key not in self._headers and (value or key != b"connection"):
                kept.append((name, value))
        return kept

    def _with_cookies(
        self, pairs: list[tuple[bytes, bytes]], ours: list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        if not self._cookies:
            return pairs
        kept: list[tuple[bytes, bytes]] = []
        cookies: list[bytes] = []
        place = len(pairs)
        for name, value in pairs:
            if name.lower() != b"cookie":
                kept.append((name, value))
                continue
            place = min(place, len(kept))
            crumbs = value.split(b";")
            others = [crumb for crumb in crumbs if not (_names_in(crumb) & self._cookies)]
            cookies.append(value if others == crumbs else b";".join(others).strip())
        # One header, because some servers join several with commas (PEP 3333). Ours come first, before any open quote.
        ours_first = [b"%b=%b" % pair for pair in ours] + [cookie for cookie in cookies if cookie]
        if ours_first:
            kept.insert(place, (b"Cookie", b"; ".join(ours_first)))
        return kept

    def _with_form(self, head: RequestHead, body: bytes | None, claims: Mapping[str, Any]) -> bytes | None:
        types = _content_types(head)
        read = is_form(head) or not any(types)  # Rack also reads a form if there is no Content-Type.
        # A form without a length that was not read counts as one with content: the framing headers may be gone.
        unknown = head.content_length is None and is_form(head) and head.method not in ("GET", "HEAD")
        unread = head.is_chunked or head.content_length or unknown
        if body is None and unread:
            if read:
                raise _unclean("it has not been read")
        elif not body and not is_form(head):
            return body
        if not read:
            if any(word in kind.lower() for kind in types for word in (b"form", b"multipart")):
                raise _unclean("only application/x-www-form-urlencoded in UTF-8, without Content-Encoding, can be")
            return body
        # D/06/04: form parameters are those of POST.
        ours = self._parameters("form", claims) if head.method == "POST" and is_form(head) else b""
        kept = _without(body or b"", self._form)
        return b"&".join(filter(None, (ours, kept))) if ours or kept != (body or b"") else body


def is_form(head: RequestHead) -> bool:
    """Whether the body holds form parameters that all servers read as we do."""
    types = _content_types(head)
    coded = any(name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in head.headers)
    return len(types) == 1 and _FORM.fullmatch(types[0]) is not None and not coded


def header_key(name: bytes) -> bytes:
    """A header's name as servers compare it: CGI and WSGI ignore case, and read `-` and `_` alike."""
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())


def header_value(claim: Any) -> bytes:
    """A claim in a header: printable text as UTF-8, anything else as JSON in ASCII, without control characters."""
    if isinstance(claim, str) and claim.isprintable() and claim == claim.strip():
        return claim.encode()
    return json.dumps(claim, separators=(",", ":")).encode()


def cookie_value(claim: Any) -> bytes:
    """A claim in a cookie: percent-encoded, except for characters that all servers read alike."""
    return quote(_text(claim), safe=_PLAIN_IN_COOKIES).encode()


def parameter_value(claim: Any) -> bytes:
    """A claim in the query or in a form: percent-encoded."""
    return _quoted(_text(claim))


def _text(claim: Any) -> str:
    text = claim if isinstance(claim, str) else json.dumps(claim, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _quoted(text: str) -> bytes:
    return quote(text, safe="").encode()


def _parameter_key(name: bytes) -> str:
    """A parameter's name as servers compare it.

    PHP, Rack and qs read `uid[]` and `uid[0]` as uid. PHP drops leading blanks, ends at NUL, and turns `.` and blanks
    into `_`. ASP.NET ignores case.
    """
    text = unquote_to_bytes(name.replace(b"+", b" ")).decode("utf-8", "replace").strip()
    return re.sub(r"[ .]", "_", re.split(r"[\[\0]", text, maxsplit=1)[0]).casefold()


def _without(raw: bytes, names: set[str]) -> bytes:
    """Parameters without those of these names; the bytes of the others stay unchanged."""
    kept, end = bytearray(), 0
    for segment in _SEGMENT.finditer(raw) if names else ():
        if _parameter_key(segment[0].partition(b"=")[0]) in names:
            kept += raw[end : segment.start()]
            end = segment.end() + 1  # with the separator after it
    if end > len(raw) and kept:
        del kept[-1]  # with the separator before it
    return bytes(kept + raw[end:])


def _names_in(crumb: bytes) -> set[str]:
    """The names that a server may find in one part of a Cookie header: some also split at commas and blanks."""
    first, *others = re.split(rb"[,\s]+", re.sub(rb"\s*=\s*", b"=", crumb.strip()))
    names = [first.partition(b"=")[0], *(other.partition(b"=")[0] for other in others if b"=" in other)]
    return {_parameter_key(name.strip(b'"')) for name in names}


def _content_types(head: RequestHead) -> list[bytes]:
    return [value.strip() for name, value in head.headers if header_key(name) == b"content-type"]


def _with_length(pairs: list[tuple[bytes, bytes]], length: int, chunked: bool) -> list[tuple[bytes, bytes]]:
    kept = [(name, b"%d" % length) if name.lower() == b"content-length" else (name, value) for name, value in pairs]
    if not chunked and not any(name.lower() == b"content-length" for name, _ in kept):
        kept.append((b"Content-Length", b"%d" % length))
    return kept


def _unclean(why: str) -> FCError:
    return FCError(
        Refusal.JWT_TOKEN_INVALID,
        reason=f"claims pass by form parameters, and this body cannot be cleaned of a client's own: {why}",
        remedy="send application/x-www-form-urlencoded, or pass claims by headers (claimPassBy)",
    )
