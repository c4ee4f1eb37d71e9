"""The vendor's table of errors before the handshake (PAGE; semantics 14), row by row, for HTTP and for upgrades."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import aiohttp
import pytest

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class Row(NamedTuple):
    """A request, and what the cloud answers."""

    what: str
    function: str
    status: int
    code: str
    message: str
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = {}


TABLE = [
    Row("no such function", "nobody", 404, "FunctionNotFound", "function 'nobody' does not exist"),
    Row("no trigger", "untriggered", 404, "TriggerNotFound", "trigger 'http' does not exist"),
    Row("URL disabled", "closed", 403, "AccessDenied", "access denied due to function internet URL is disabled"),
    Row("method not configured", "post-only", 403, "AccessDenied", "the http method 'GET' is not allowed"),
    Row("method not configured", "open", 403, "AccessDenied", "the http method 'PUT' is not allowed", method="PUT"),
    Row("target over 4 KB", "open", 400, "InvalidArgument", "path and query", path="/" + "x" * 4096),
    Row("headers over 8 KB", "open", 400, "InvalidArgument", "headers", headers={"X-Large": "x" * 8192}),
    Row("function disabled", "disabled", 429, "ResourceExhausted", "limit"),
    Row("function does not start", "broken", 412, "CAExited", "exited unexpectedly"),
]  # fmt: skip


@pytest.mark.parametrize("upgrade", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.status}-{row.what}".replace(" ", "-"))
async def test_refusal(endpoint: str, row: Row, upgrade: bool) -> None:
    """A refused request gets the documented status, code and message, upgrade or not."""
    if upgrade and row.method != "GET":
        # An upgrade is a GET by definition (RFC 6455 4.1), so such a row has no second form.
        upgrade = False
    headers = {"Host": f"{row.function}.localhost", **row.headers, **(UPGRADE if upgrade else {})}
    async with (
        aiohttp.ClientSession() as client,
        client.request(row.method, endpoint + row.path, headers=headers) as response,
    ):
        body: dict[str, Any] = await response.json()
    assert (response.status, body["Code"]) == (row.status, row.code)
    assert row.message in body["Message"]
    assert list(body) == ["RequestId", "Code", "Message"]
    assert response.headers["X-Fc-Request-Id"] == body["RequestId"]
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{1,8}-[0-9a-f]{12}", body["RequestId"])
    assert response.headers["X-Fc-Error-Type"] == "FCCommonError"
    assert "Server" not in response.headers


async def test_body_over_the_limit_is_refused(endpoint: str) -> None:
    """A body over 32 MB is refused by its announced length, before it is sent."""
    headers = {"Host": "open.localhost", "Content-Length": str(32 * 1024 * 1024 + 1), "Expect": "100-continue"}
    async with aiohttp.ClientSession() as client, client.post(endpoint, headers=headers, data=b"") as response:
        body = await response.json()
    assert (response.status, body["Code"]) == (400, "InvalidArgument")


async def test_timeout_of_a_request_is_a_billed_502(endpoint: str) -> None:
    """A function that does not answer in time is reported as its own error."""
    headers = {"Host": "short.localhost"}
    async with aiohttp.ClientSession() as client, client.get(endpoint + "/sleep", headers=headers) as response:
        body = await response.json()
    assert (response.status, body["Code"]) == (502, "FunctionTimeoutError")
    assert re.fullmatch(r"Function timed out after 1 seconds \(maxMemoryUsage: \d+\.\d\dMB\)", body["Message"])
    assert response.headers["X-Fc-Error-Type"] == "UnhandledInvocationError"


async def test_timeout_of_a_socket_is_1006(endpoint: str) -> None:
    """A socket at its execution timeout is dropped without a Close frame."""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(endpoint, headers={"Host": "short.localhost"}) as ws,
    ):
        await ws.send_str("hello")
        assert await ws.receive_str() == "hello"
        message = await ws.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE)
        assert ws.close_code == 1006
