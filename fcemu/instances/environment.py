"""What does a function get from the platform? Its command, its variables, the headers of each request (D/04/047)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fcemu.model import Function

RESERVED = ("FC_", "ALIBABA_CLOUD_")
"""Prefixes of the platform's variables. Such variables of the developer's shell never reach a function."""


def command(function: Function, code: Path) -> list[str]:
    """The start command, with the cloud's code folder `/code` replaced by the local one."""
    return [local_path(part, code) for part in function.start_command]


def local_path(part: str, code: Path) -> str:
    """`/code/x` as a path below the local code folder; other words unchanged."""
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

    The developer's variables without those with a reserved prefix, then the function's, then the .env file's, then the
    platform's. Later ones win, as in the cloud.

    Args:
        code: the local code folder.
        port: where the server should listen.
        run: identity of the front; `fcemu prune` uses it to find processes whose front is gone.
        env_file: variables of `fcemu.envFile`.
        inherited: the developer's variables.
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
        # Credentials of the function's role. A local machine has no role, so they are empty.
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "",
    }


def common_headers(function: Function, qualifier: str, account_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of every request to a function. Those without a local value are sent empty (semantics 5.3)."""
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
