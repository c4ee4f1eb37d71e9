"""How are the lifecycle hooks called? `POST /initialize`, `GET /pre-stop` (D/04/060, D/04/119)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Literal

from fcemu.instances.environment import common_headers
from fcemu.model import Function

Hook = Literal["Initialize", "PreStop"]

_REQUESTS: dict[Hook, tuple[str, str]] = {"Initialize": ("POST", "/initialize"), "PreStop": ("GET", "/pre-stop")}


class HookFailed(Exception):
    """A hook did not answer 2xx in time. The text says what happened."""


def new_request_id() -> str:
    """A request id for a hook call: a UUID."""
    return str(uuid.uuid4())


async def call(
    hook: Hook,
    function: Function,
    host: str,
    port: int,
    *,
    request_id: str,
    account_id: str,
    timeout: float,
) -> None:
    """Call a hook of an instance.

    Args:
        host, port: where the instance accepts connections.
        timeout: seconds.

    Raises:
        HookFailed: the hook did not answer 2xx in time.
    """
    import aiohttp  # slow to import, and few functions have hooks

    method, path = _REQUESTS[hook]
    headers = {name.decode(): value.decode() for name, value in common_headers(function, "LATEST", account_id)}
    headers |= {"X-Fc-Control-Path": path, "X-Fc-Request-Id": request_id}
    url = f"http://{host}:{port}{path}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as client,
            client.request(method, url, headers=headers, allow_redirects=False) as response,
        ):
            body = await response.text(errors="replace")
    except TimeoutError:
        raise HookFailed(f"{path} did not answer within {timeout:g} seconds") from None
    except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
        raise HookFailed(f"{path} could not be called: {error}") from None
    if not 200 <= response.status < 300:
        raise HookFailed(f"{path} answered {response.status}: {body[:500]}")
