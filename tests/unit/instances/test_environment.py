"""The environment of a function's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fcemu.instances.environment import command, common_headers, variables
from fcemu.model import Function

CODE = Path("/home/me/code")


def environment(function: Function, **more: Any) -> dict[str, str]:
    """The variables of an instance on port 1234."""
    defaults: dict[str, Any] = {"env_file": {}, "inherited": {}, "run": "7:8"}
    return variables(function, code=CODE, port=1234, instance_id="c-1", account_id="42", **{**defaults, **more})


@pytest.mark.parametrize(
    ("props", "expected"),
    [
        ({}, ["/home/me/code/bootstrap"]),
        ({"runtime": "nodejs14"}, ["node", "index.js"]),
        (
            {"customRuntimeConfig": {"command": ["node"], "args": ["/code/index.js", "--x=/code/y"]}},
            ["node", "/home/me/code/index.js", "--x=/code/y"],
        ),
        ({"customRuntimeConfig": {"command": ["ls", "/code", "/codex"]}}, ["ls", "/home/me/code", "/codex"]),
    ],
)
def test_start_command_reads_the_code_folder_locally(props: dict[str, Any], expected: list[str]) -> None:
    """Command and args are joined, and /code is the local code folder; without them bootstrap runs."""
    assert command(Function.model_validate({"functionName": "fn", **props}), CODE) == expected


def test_documented_variables_are_injected() -> None:
    """An instance finds the documented FC_* variables, the port under both its names."""
    function = Function.model_validate({"functionName": "fn", "memorySize": 1024, "timeout": 9})
    found = environment(function)
    expected = {
        "FC_FUNCTION_NAME": "fn", "FC_FUNCTION_MEMORY_SIZE": "1024", "FC_REGION": "cn-hangzhou", "FC_ACCOUNT_ID": "42",
        "FC_INSTANCE_ID": "c-1", "FC_CUSTOM_LISTEN_PORT": "1234", "FC_SERVER_PORT": "1234",
        "FC_FUNC_CODE_PATH": "/home/me/code/", "FC_FUNCTION_HANDLER": "index.handler", "FC_TIMEOUT": "9",
    }  # fmt: skip
    assert expected.items() <= found.items()


def test_configured_variables_win_over_the_shell_and_the_env_file_over_both() -> None:
    """The function's variables override the shell's, and the .env file's override both."""
    function = Function.model_validate({"functionName": "fn", "environmentVariables": {"A": "function", "B": 1}})
    found = environment(function, inherited={"A": "shell", "B": "shell", "C": "shell"}, env_file={"B": "file"})
    assert (found["A"], found["B"], found["C"]) == ("function", "file", "shell")


def test_variables_name_the_front() -> None:
    """An instance finds which front started it, whatever the shell says: a front may itself run in an instance."""
    assert environment(Function(functionName="fn"), inherited={"FCEMU_RUN": "1:2"})["FCEMU_RUN"] == "7:8"


def test_platform_variables_cannot_be_overridden_or_leak_in() -> None:
    """Reserved names come from the platform alone: no shell's credentials, no forged port."""
    shell = {"FC_SERVER_PORT": "1", "FC_OTHER": "x", "ALIBABA_CLOUD_ACCESS_KEY_ID": "real", "ALIBABA_CLOUD_X": "y"}
    found = environment(Function(functionName="fn"), inherited=shell, env_file={"FC_SERVER_PORT": "2"})
    assert found["FC_SERVER_PORT"] == "1234"
    assert found["ALIBABA_CLOUD_ACCESS_KEY_ID"] == ""
    assert "FC_OTHER" not in found
    assert "ALIBABA_CLOUD_X" not in found


@pytest.mark.parametrize(("qualifier", "version"), [("LATEST", b""), ("3", b"3"), ("prod", b"")])
def test_requests_carry_the_documented_headers(qualifier: str, version: bytes) -> None:
    """A request names function, qualifier and, for a version, its number; headers without a local value are empty."""
    function = Function(functionName="fn", memorySize=256, timeout=7)
    headers = dict(common_headers(function, qualifier, "42"))
    assert headers[b"X-Fc-Function-Name"] == b"fn"
    assert headers[b"X-Fc-Function-Memory"] == b"256"
    assert headers[b"X-Fc-Function-Timeout"] == b"7"
    assert headers[b"X-Fc-Account-Id"] == b"42"
    assert (headers[b"X-Fc-Qualifier"], headers[b"X-Fc-Version-Id"]) == (qualifier.encode(), version)
    assert headers[b"X-Fc-Security-Token"] == b""
