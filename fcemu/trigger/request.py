"""What does a request say before its body?"""

from __future__ import annotations

from dataclasses import dataclass, field

HeaderPairs = tuple[tuple[bytes, bytes], ...]


VERSIONS = {"1.1": (1, 1), "1.0": (1, 0)}
"""The supported versions of HTTP, of clients and of functions, as llhttp names them."""


class HeaderSection:
    """Header pairs with an index of their names.

    Attributes:
        names: the headers' names in lower case.
        size: bytes of all names and values together.
        repeated: a name occurs more than once.
    """

    __slots__ = ("_first", "names", "repeated", "size")

    headers: HeaderPairs

    def _index(self) -> None:
        first: dict[bytes, bytes] = {}
        names = []
        size = 0
        for name, value in self.headers:
            size += len(name) + len(value)
            name = name.lower()
            names.append(name)
            if name not in first:
                first[name] = value
        self.names = names
        self.size = size
        self._first = first
        self.repeated = len(first) < len(names)

    def first(self, name: bytes) -> bytes | None:
        """The first value of a lower-case header name; None if it is absent."""
        return self._first.get(name)

    def values(self, name: bytes) -> list[bytes]:
        """All values of a lower-case header name."""
        if not self.repeated:
            value = self._first.get(name)
            return [] if value is None else [value]
        return [pair[1] for pair, lower in zip(self.headers, self.names, strict=True) if lower == name]

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """The elements of a header that is a list of tokens (RFC 9110 5.6.1), in lower case."""
        if name not in self._first:
            return frozenset()
        return frozenset(element.strip().lower() for value in self.values(name) for element in value.split(b","))


@dataclass(slots=True)
class RequestHead(HeaderSection):
    """A request line and its header pairs as they arrived: order, case and duplicates are kept.

    Attributes that are needed more than once are computed when the head is made. A head never changes;
    `dataclasses.replace` makes another one. (It is not frozen: each request has one, and freezing doubles its cost.)

    Attributes:
        target: the raw request target: path and query, percent-escapes untouched.
        path, query: of the target.
        host: the Host header in lower case, as sent (with its port).
        host_name: the host without its port.
        content_length: the announced length of the body; None if there is none, or if it is not a number.
        is_chunked: the body has a transfer coding.
        has_body: a body follows; it may be empty.
        is_websocket: an upgrade to WebSocket (RFC 6455 4.2.1): GET, `Connection: upgrade`, `Upgrade: websocket`.
    """

    method: str
    target: str
    headers: HeaderPairs
    version: tuple[int, int] = (1, 1)
    scheme: str = "http"
    path: str = field(init=False, repr=False, compare=False)
    query: str = field(init=False, repr=False, compare=False)
    host: str = field(init=False, repr=False, compare=False)
    host_name: str = field(init=False, repr=False, compare=False)
    content_length: int | None = field(init=False, repr=False, compare=False)
    is_chunked: bool = field(init=False, repr=False, compare=False)
    has_body: bool = field(init=False, repr=False, compare=False)
    is_websocket: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.path, _, self.query = self.target.partition("?")
        self._index()
        first = self._first
        host = self.host = first[b"host"].decode("utf-8", "surrogateescape").lower() if b"host" in first else ""
        self.host_name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        length = first.get(b"content-length")
        self.content_length = int(length) if length is not None and length.isdigit() else None
        self.is_chunked = b"transfer-encoding" in first
        self.has_body = self.is_chunked or bool(self.content_length)
        self.is_websocket = b"upgrade" in first and self._upgrades_to_websocket()

    def header(self, name: str) -> str | None:
        """The first value of a header, any case; None if it is absent."""
        return self.text(name.lower().encode())

    def text(self, name: bytes) -> str | None:
        """The first value of a lower-case header name, decoded; None if it is absent."""
        value = self._first.get(name)
        return None if value is None else value.decode("utf-8", "surrogateescape")

    def _upgrades_to_websocket(self) -> bool:
        if self.method != "GET" or self._first[b"upgrade"].strip().lower() != b"websocket":
            return False
        return b"upgrade" in self.tokens(b"connection")
