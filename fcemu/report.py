"""How is a run shown? The journal's records as lines for people or JSON for programs; tables at the start and end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from fcemu.journal import (
    FaultFired,
    HookCalled,
    InstanceChanged,
    InvocationEnded,
    InvocationStarted,
    LogLine,
    Record,
)
from fcemu.model import Account, Function
from fcemu.scheduling.billing import Bill

_SHORT = slice(-12, None)
"""The part of an instance id that is enough to distinguish instances in a log."""


def as_json(record: Record) -> str:
    """A record as one JSON object: `record` is its type, the other keys are its fields."""
    return json.dumps({"record": type(record).__name__, **dataclasses.asdict(record)}, ensure_ascii=False)


def as_text(record: Record) -> list[str]:
    """A record as log lines. `FC Invoke Start/End` are worded as in the cloud (semantics 5.7)."""
    at = _at(int(record.wall_time * 1000))
    match record:
        case InvocationStarted():
            where = f"{record.function} {record.instance_id[_SHORT]}"
            return [f"{at} {where} | FC Invoke Start RequestId: {record.request_id}"]
        case InvocationEnded():
            return _ended(record, at)
        case LogLine():
            return [f"{at} {record.function} {record.instance_id[_SHORT]} {record.stream} | {record.text}"]
        case HookCalled():
            error = f", Error: {record.error}" if record.error else ""
            where = f"{record.function} {record.instance_id[_SHORT]}"
            return [f"{at} {where} | FC {record.hook} {record.phase} RequestId: {record.request_id}{error}"]
        case InstanceChanged():
            detail = f": {record.detail}" if record.detail else ""
            return [f"{at} {record.function} {record.instance_id[_SHORT]} instance {record.state}{detail}"]
        case FaultFired():
            what = record.request_id or (record.instance_id or "")[_SHORT]
            return [f"{at} {record.function} {what} fault {record.rule}: {record.action}"]
    return [f"{at} {record.level}: {record.text}"]


@lru_cache(maxsize=16)
def _at(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%H:%M:%S}.{milliseconds % 1000:03}"


def _ended(record: InvocationEnded, at: str) -> list[str]:
    lines: list[str] = []
    instance = ""
    if record.instance_id is not None:
        error = f", Error: {record.error}" if record.error else ""
        instance = f" {record.instance_id[_SHORT]}"
        lines.append(f"{at} {record.function}{instance} | FC Invoke End RequestId: {record.request_id}{error}")
    close = f" close {record.close_code}" if record.close_code is not None else ""
    by = f" by {record.closed_by}" if record.closed_by is not None else ""
    code = f" {record.error_code}" if record.error_code is not None else ""
    cold = " cold" if record.cold_start else ""
    lines.append(
        f"{at} {record.function or '-'} {record.request_id} {record.method} {_printable(record.target)} {record.status}"
        f"{close}{by}{code}{instance}{cold} {record.duration * 1000:.1f} ms billed {record.billed_ms} ms"
    )
    if record.reason:
        lines += [f"{at}   reason: {line}" if i == 0 else f"    {line}" for i, line in _numbered(record.reason)]
    if record.remedy:
        lines.append(f"{at}   remedy: {record.remedy}")
    return lines


def _numbered(text: str) -> Iterable[tuple[int, str]]:
    return enumerate(text.splitlines())


def _printable(target: str) -> str:
    """A request target that cannot forge a log line."""
    if target.isprintable():
        return target
    return "".join(c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" for c in target)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def urls(account: Account, function: Function, port: int, host: str = "127.0.0.1") -> tuple[str, str]:
    """The WebSocket and HTTP URLs of a function on this machine."""
    name = f"[{host}]" if ":" in host else host
    if len(account.functions) > 1:
        name = f"{function.functionName.lower()}.localhost"
    return f"ws://{name}:{port}/", f"http://{name}:{port}/"


def url_map(account: Account, port: int, host: str = "127.0.0.1", debug: bool = False) -> str:
    """The table of URLs that `fcemu serve` and `fcemu check` print.

    Args:
        port, host: where the front listens.
        debug: no request times out.
    """
    rows = [("FUNCTION", "WEBSOCKET", "HTTP", "METHODS", "AUTH", "CONCURRENCY", "TIMEOUT")]
    for function in account.functions:
        ws, http = urls(account, function, port, host)
        timeout = "none (--debug)" if debug else f"{function.timeout} s"
        for trigger in function.triggers:
            config = trigger.triggerConfig
            name = function.functionName + ("" if trigger.qualifier == "LATEST" else f" ({trigger.qualifier})")
            closed = config.disableURLInternet
            internal = f"http://{function.functionName.lower()}-vpc.localhost:{port}/"
            rows.append(
                (
                    name,
                    "closed (403)" if closed else ws if "GET" in config.methods else "needs GET",
                    internal if closed else http,
                    ",".join(config.methods),
                    config.authType,
                    str(function.instanceConcurrency),
                    timeout,
                )
            )
        if not function.triggers:
            rows.append((function.functionName, "no HTTP trigger (404)", "-", "-", "-", "-", timeout))
    for domain in account.customDomains:
        for route in domain.routeConfig.routes:
            url = f"//{domain.domainName}:{port}{route.path}"
            methods = ",".join(route.methods) or "any"
            rows.append(
                (f"→ {route.functionName}", "ws:" + url, "http:" + url, methods, domain.authConfig.authType, "", "")
            )
    return table(rows)


def billing(account: Account, bill: Callable[[str], Bill], refused: int) -> str:
    """The summary at exit: what the cloud would have billed (D/03/01).

    Args:
        bill: returns the bill of a function by its name.
        refused: number of refused requests.
    """
    rows = [("FUNCTION", "INVOCATIONS", "BILLED", "MEMORY", "VCPU")]
    for function in account.functions:
        due = bill(function.functionName)
        rows.append(
            (
                function.functionName,
                str(due.invocations),
                f"{due.milliseconds} ms",
                f"{due.memory_gb_seconds(function.memorySize):.3f} GB·s",
                f"{due.vcpu_seconds(function.cpu):.3f} vCPU·s" if function.cpu is not None else "cpu not configured",
            )
        )
    return f"{table(rows)}\n{refused} refused (not billed)"
