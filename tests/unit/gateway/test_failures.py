"""The errors of requests that were accepted and then failed."""

from __future__ import annotations

import pytest

from fcemu.errors import Refusal
from fcemu.gateway import failures
from fcemu.journal import ClosedBy
from fcemu.model import Function


def function(**more: object) -> Function:
    """A function that runs one invocation at a time, with a timeout of 7 s and 512 MB."""
    description = {"functionName": "fn", "customRuntimeConfig": {"command": ["x"]}, "timeout": 7, "memorySize": 512}
    return Function.model_validate({**description, **more})


def test_bytes_that_are_no_request_are_a_bad_request() -> None:
    """The 400 says why the bytes are not HTTP, and what to send instead."""
    error = failures.not_http("no Host header")
    assert (error.refusal, error.status) == (Refusal.BAD_REQUEST, 400)
    assert "the request is not valid HTTP: no Host header" in error.message
    assert error.remedy == "send HTTP/1.1 as RFC 9112 has it"


def test_body_that_breaks_off_is_a_bad_request() -> None:
    """The client gets a message without the parser's words; the reason has them."""
    error = failures.body_breaks_off("Invalid character in chunk size")
    assert (error.refusal, error.status) == (Refusal.BAD_REQUEST, 400)
    assert "its body breaks off" in error.message
    assert error.reason == "the request's body is not valid HTTP: Invalid character in chunk size"


def test_timeout_names_the_seconds_and_the_memory() -> None:
    """The error of a timeout has the cloud's text with the function's timeout, and a remedy that names the function."""
    error = failures.timed_out(function(), 12.5)
    assert error.refusal is Refusal.FUNCTION_TIMEOUT
    assert "7 seconds" in error.message
    assert "12.5" in error.message
    assert error.remedy.startswith("raise `timeout` of fn (now 7 s, at most 86400)")


def test_exit_of_an_instance_is_shown_with_its_last_lines() -> None:
    """The reason names instance, exit code and last output; the message is the cloud's."""
    error = failures.instance_exited("it closed the connection", "c-1", 3, ["one", "two"], seconds=1.2345, memory=12.5)
    assert error.refusal is Refusal.PROCESS_EXITED
    assert error.reason == ("it closed the connection; instance c-1 exited with code 3. Its last lines:\none\ntwo")
    lost = failures.instance_lost("it closed the connection", seconds=1.2345, memory=12.5)
    assert (lost.refusal, lost.message, lost.reason) == (error.refusal, error.message, "it closed the connection")
    assert "1234" in error.message


def test_instance_over_its_memory_limit_is_named() -> None:
    """The error of a memory limit has the limit, what was used, and which instance it was."""
    error = failures.out_of_memory(function(), "c-1", seconds=0.5, memory=513.0)
    assert error.refusal is Refusal.FUNCTION_OOM
    assert error.reason == "instance c-1 used more than its memorySize of 512 MB"
    assert "512" in error.message


def test_bug_of_ours_is_shown_in_full() -> None:
    """The reason of a system error is the traceback, for the log alone."""
    try:
        raise KeyError("oops")
    except KeyError as bug:
        error = failures.system_error(bug)
    assert (error.refusal, error.status) == (Refusal.INTERNAL_SERVER_ERROR, 500)
    assert "KeyError: 'oops'" in error.reason
    assert "test_failures.py" in error.reason
    assert "oops" not in error.message


@pytest.mark.parametrize(
    ("closed_by", "concurrency", "checked", "expected"),
    [
        ("timeout", 1, False, True),
        ("timeout", 1, True, True),
        ("timeout", 2, False, False),
        ("client", 1, False, True),
        ("client", 1, True, False),
        ("client", 2, False, False),
        ("fault", 1, False, False),
        ("shutdown", 1, False, False),
        ("error", 1, False, False),
        (None, 1, False, False),
    ],
)
def test_instance_is_replaced_when_its_only_invocation_ended_early(
    closed_by: ClosedBy | None, concurrency: int, checked: bool, expected: bool
) -> None:
    """An instance of one invocation at a time is replaced after a timeout, and after a client left it unchecked."""
    health = {"httpGetUrl": "/healthz"} if checked else None
    config = {"command": ["x"], "healthCheckConfig": health}
    subject = function(instanceConcurrency=concurrency, customRuntimeConfig=config)
    assert failures.replaces_instance(subject, closed_by) is expected
