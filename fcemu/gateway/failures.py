"""What can go wrong with a request that the trigger lets in? Errors of the gateway, made from values alone."""

from __future__ import annotations

import traceback
from collections.abc import Iterable

from fcemu.errors import FCError, Refusal
from fcemu.journal import ClosedBy
from fcemu.model import Function

_SPEAK_HTTP = "send HTTP/1.1 as RFC 9112 has it"


def not_http(why: str) -> FCError:
    """The 400 for bytes that are not a request (RFC 9112 11.2: smuggling)."""
    return FCError(Refusal.BAD_REQUEST, detail=f"the request is not valid HTTP: {why}", remedy=_SPEAK_HTTP)


def body_breaks_off(why: str) -> FCError:
    """The 400 for a body that ends too early or is not valid HTTP."""
    return FCError(
        Refusal.BAD_REQUEST,
        detail="the request is not valid HTTP: its body breaks off",
        reason=f"the request's body is not valid HTTP: {why}",
        remedy=_SPEAK_HTTP,
    )


def timed_out(function: Function, memory: float) -> FCError:
    """The error of an invocation that ran longer than the function's `timeout`.

    Args:
        memory: MB that its instance uses.
    """
    return FCError(
        Refusal.FUNCTION_TIMEOUT,
        seconds=function.timeout,
        memory=memory,
        remedy=f"raise `timeout` of {function.functionName} (now {function.timeout} s, at most 86400); "
        "a socket that has to live longer needs a client that reconnects",
    )


def instance_lost(why: str, *, seconds: float, memory: float) -> FCError:
    """The error of an invocation whose instance closed the connection and runs on (D/08/069).

    Args:
        seconds: that the invocation lasted.
        memory: MB that the instance uses.
    """
    return _process_exited(why, seconds, memory)


def instance_exited(
    why: str, instance: str, code: int, tail: Iterable[str], *, seconds: float, memory: float
) -> FCError:
    """The error of an invocation whose instance exited (D/08/069).

    Args:
        instance: its id.
        code: its exit code.
        tail: its last lines of output.
        seconds: that the invocation lasted.
        memory: MB that the instance used at most.
    """
    lines = "\n".join(tail)
    reason = f"{why}; instance {instance} exited with code {code}. Its last lines:\n{lines}"
    return _process_exited(reason, seconds, memory)


def _process_exited(reason: str, seconds: float, memory: float) -> FCError:
    return FCError(
        Refusal.PROCESS_EXITED,
        milliseconds=round(seconds * 1000),
        memory=memory,
        reason=reason,
        remedy="look at the function's own output",
    )


def out_of_memory(function: Function, instance: str, *, seconds: float, memory: float) -> FCError:
    """The error of an invocation whose instance was killed because of its memory limit.

    Args:
        instance: its id.
        seconds: that the invocation lasted.
        memory: MB that the instance used at most.
    """
    limit = function.memorySize
    return FCError(
        Refusal.FUNCTION_OOM,
        milliseconds=round(seconds * 1000),
        memory=memory,
        limit=limit,
        reason=f"instance {instance} used more than its memorySize of {limit} MB",
        remedy="raise memorySize, or look for what the function keeps",
    )


def system_error(error: Exception) -> FCError:
    """The cloud's "system error" for a bug of ours, which the log shows in full."""
    return FCError(
        Refusal.INTERNAL_SERVER_ERROR,
        reason="".join(traceback.format_exception(error)),
        remedy="this is a bug in fcemu; please report it with the lines above",
    )


def replaces_instance(function: Function, closed_by: ClosedBy | None) -> bool:
    """Whether an HTTP invocation that ended early takes its instance with it.

    The function still works on a request whose answer nobody waits for. An instance that runs one invocation at a time
    is replaced: after a timeout (D/08/095), and after the client left unless a health check watches it (D/08/058).
    Other instances stay, or the other invocations would fail too.
    """
    if function.instanceConcurrency > 1:
        return False
    left_unchecked = closed_by == "client" and function.customRuntimeConfig.healthCheckConfig is None
    return closed_by == "timeout" or left_unchecked
