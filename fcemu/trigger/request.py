"""What does a request say before its body?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

HeaderPairs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class RequestHead:
    """A request line and its header pairs, exactly as they came: order, case and duplicates kept."""

    method: str
    target: str
    """Raw request target: path and query, percent-escapes untouched."""
    headers: HeaderPairs
    version: tuple[int, int] = (1, 1)
    scheme: str = "http"
    peer: str = ""

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @cached_property
    def _first(self) -> dict[bytes, bytes]:
        first: dict[bytes, bytes] = {}
        for name, value in self.headers:
            first.setdefault(name.lower(), value)
        return first

    def header(self, name: str) -> str | None:
        """The first value of a header, any case; None if it is absent."""
        value = self._first.get(name.lower().encode())
        return None if value is None else value.decode("utf-8", "surrogateescape")

    @cached_property
    def host(self) -> str:
        """The Host header in lower case, as sent (with its port)."""
        return (self.header("host") or "").lower()

    @cached_property
    def host_name(self) -> str:
        """The host without its port."""
        if self.host.startswith("["):
            return self.host.partition("]")[0] + "]"
        return self.host.partition(":")[0]

    @cached_property
    def content_length(self) -> int | None:
        """The announced length of the body; None without one, or one that is no number."""
        value = self._first.get(b"content-length")
        return int(value) if value is not None and value.isdigit() else None

    @cached_property
    def is_chunked(self) -> bool:
        return b"transfer-encoding" in self._first

    @cached_property
    def is_websocket(self) -> bool:
        """An upgrade to WebSocket (RFC 6455 4.2.1): GET, `Connection: upgrade`, `Upgrade: websocket`."""
        if self.method != "GET" or self._first.get(b"upgrade", b"").strip().lower() != b"websocket":
            return False
        return any(
            token.strip().lower() == b"upgrade"
            for name, value in self.headers
            if name.lower() == b"connection"
            for token in value.split(b",")
        )
