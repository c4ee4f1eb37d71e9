"""What does a function find around it? Its command, folder, variables; the headers of each request. (D/04/047, 5.5)"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fcemu.model import Function

RESERVED = ("FC_", "ALIBABA_CLOUD_")
"""Prefixes that the platform sets; the developer's own shell never leaks them into a function."""


def command(function: Function, code: Path) -> list[str]:
    """The start command, with the cloud's code folder `/code` read as the local one."""
    return [local_path(part, code) for part in function.start_command]


def local_path(part: str, code: Path) -> str:
    """`/code/x` as a path below the local code folder; anything else as it is."""
    if part == "/code" or part.startswith("/code/"):
        return str(code / part.removeprefix("/code").lstrip("/"))
    return part


def variables(
    function: Function,
    *,
    code: Path,
    port: int,
    instance_id: str,
    account_id: str,
    run: str,
    env_file: Mapping[str, str],
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """The environment of an instance.

    The developer's own variables, less those with a reserved prefix; then the function's; then the .env file's; then
    what the platform injects, which wins as in the cloud.

    Args:
        run: names the front, for `fcemu prune` to know what was left behind by one that is gone.
    """
    own = {name: value for name, value in inherited.items() if not name.startswith(RESERVED)}
    return {
        **own,
        **function.environmentVariables,
        **env_file,
        "FC_ACCOUNT_ID": account_id,
        "FC_CUSTOM_LISTEN_PORT": str(port),
        "FC_FUNCTION_HANDLER": function.handler,
        "FC_FUNCTION_MEMORY_SIZE": str(function.memorySize),
        "FC_FUNCTION_NAME": function.functionName,
        "FC_FUNCTION_VERSION": "",
        "FC_FUNC_CODE_PATH": f"{code}/",
        "FC_INSTANCE_ID": instance_id,
        "FC_REGION": function.region,
        "FC_RUNTIME": function.runtime,
        "FC_SERVER_PORT": str(port),
        "FC_TIMEOUT": str(function.timeout),
        "FC_VER_ID": "",
        "FCEMU_RUN": run,
        # Credentials of the function's role: there is no role on a laptop, so they are empty, not somebody else's.
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "",
    }


def common_headers(function: Function, qualifier: str, account_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that every request to a function carries; those without a value are sent empty (5.3)."""
    values = {
        "Access-Key-Id": "",
        "Access-Key-Secret": "",
        "Account-Id": account_id,
        "Api-Server-Ip": "",
        "Client-Ip": "",
        "Eagleeye-Rpcid": "",
        "Eagleeye-Traceid": "",
        "Eagleeye-Userdata": "",
        "Function-Handler": function.handler,
        "Function-Memory": str(function.memorySize),
        "Function-Name": function.functionName,
        "Function-Timeout": str(function.timeout),
        "Qualifier": qualifier,
        "Region": function.region,
        "Retry-Count": "0",
        "Security-Token": "",
        "Service-Logproject": "",
        "Service-Logstore": "",
        "Service-Name": "",
        "Tracing-Jaeger-Endpoint": "",
        "Tracing-Opentracing-Span-Baggages": "",
        "Tracing-Opentracing-Span-Context": "",
        "Version-Id": "" if not qualifier.isdigit() else qualifier,
    }
    return tuple((f"X-Fc-{name}".encode(), value.encode()) for name, value in values.items())
