"""What has the gateway worked out before? All caches of the request path, each with its bound.

Authentication, times, slots and ids are never kept: they are decided anew for each request. A table of the caches is in
docs/explanation/decisions.md.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import NamedTuple, TypeVar

from fcemu.gateway.response import ResponseHead, lines, parse_head
from fcemu.instances.environment import common_headers
from fcemu.trigger.authentication import Authenticator
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route

_T = TypeVar("_T")

REQUESTS = 1000
"""Requests that are kept at most."""

RESPONSES = 128
"""Heads of responses that are kept at most."""

LONGEST = 2 * 1024
"""Bytes of the longest request, or response head, that is kept."""


class Admitted(NamedTuple):
    """What the configuration says of a request.

    Attributes:
        authenticator: None for an anonymous trigger or domain.
        preflight: the gateway answers the request itself.
        common: the header lines that every request to the function carries.
        start: the head that the instance gets if authentication leaves it unchanged, up to the request id; None if the
            head is made when it is sent.
    """

    route: Route
    authenticator: Authenticator | None
    preflight: bool
    common: bytes
    start: bytes | None


class Memory:
    """The caches of one gateway. A cache that is full is emptied.

    What identical bytes mean never changes, so it is kept until a cache is full. What the configuration says is dropped
    when the configuration changes.
    """

    __slots__ = ("_admitted", "_common", "_date", "_requests", "_responses", "_second")

    def __init__(self) -> None:
        self._requests: dict[bytes, RequestHead] = {}
        self._responses: dict[bytes, ResponseHead] = {}
        self._second = -1
        self._date = ""
        self.drop_configuration()

    def drop_configuration(self) -> None:
        """Drop all that depends on the configuration, because it has changed."""
        self._admitted: dict[bytes, Admitted] = {}
        self._common: dict[tuple[str, str], bytes] = {}

    def request(self, raw: bytes) -> RequestHead | None:
        """The head of a request that was kept; None for other bytes."""
        return self._requests.get(raw)

    def keep(self, raw: bytes, head: RequestHead) -> None:
        """Keep what these bytes are: one whole request without a body."""
        if len(raw) <= LONGEST:
            _keep(self._requests, raw, head, REQUESTS)

    def admitted(self, raw: bytes) -> Admitted | None:
        """What the present configuration says of a request that was kept; None if it was not asked yet."""
        return self._admitted.get(raw)

    def keep_admitted(self, raw: bytes, admitted: Admitted) -> None:
        """Keep what the present configuration says of a request that was kept."""
        _keep(self._admitted, raw, admitted, REQUESTS)

    def response(self, raw: bytes) -> ResponseHead:
        """The head of a response, parsed.

        Raises:
            FCError: BAD_RESPONSE if it is no HTTP/1 response.
        """
        head = self._responses.get(raw)
        if head is None:
            head = parse_head(raw)
            if len(raw) <= LONGEST:
                _keep(self._responses, raw, head, RESPONSES)
        return head

    def common_lines(self, route: Route, account_id: str) -> bytes:
        """The header lines that every request to a function carries; kept for each function and qualifier."""
        key = (route.function.functionName, route.qualifier)
        common = self._common.get(key)
        if common is None:
            common = self._common[key] = lines(common_headers(route.function, route.qualifier, account_id))
        return common

    def date(self, wall_now: float) -> str:
        """The `Date` of a response; the last one is kept.

        Args:
            wall_now: seconds since 1970 UTC.
        """
        second = int(wall_now)
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return self._date


def _keep(kept: dict[bytes, _T], key: bytes, value: _T, most: int) -> None:
    """Add to a cache; a full one is emptied first."""
    if len(kept) >= most and key not in kept:
        kept.clear()
    kept[key] = value
