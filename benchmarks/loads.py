"""What came of one run of a client against a front? Operations, latencies, and whose CPU time they took."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import processes
from benchmarks.figures import Measured, Run
from benchmarks.fronts import KEY, PAIR, Front, program
from benchmarks.machine import Failed, Machine, Missing, stop
from benchmarks.works import FEW, Work
from fcemu import sign

_WARM = 0.2
"""Seconds that a client runs before anything is counted; load.c has the same."""

_PATIENCE = 180.0
"""Seconds after which a client that does not end is ended."""

_LONGEST = 20.0
"""Seconds of a run after which it is a failure that not one operation has ended."""

SKIPPED, FAILED = "skipped: ", "failed: "
"""How the reasons begin for which a row has no figures."""


@contextlib.contextmanager
def noted(measured: Measured, row: str) -> Iterator[None]:
    """What keeps a row from being measured is noted as the reason for which it has no figures."""
    try:
        yield
    except Missing as error:
        measured.without[row] = f"{SKIPPED}{error}"
    except Failed as error:
        measured.without[row] = f"{FAILED}{error}"


class TooShort(Failed):
    """Not one operation ended in the time of a run: nothing can be said of it."""


def run(machine: Machine, front: Front, work: Work, guard: str | None, seconds: float) -> Run:
    """Run the client that does a work; again and longer, if the machine is too slow for one operation in this time.

    Raises:
        Failed: it went wrong.
        Missing: there is no such client here.
    """
    try:
        if work.kind in ("echo", "handshake", "idle"):
            return websocket(machine, front, work, seconds)
        return http(machine, front, work, guard, seconds)
    except TooShort:
        if seconds >= _LONGEST:
            raise
    return run(machine, front, work, guard, min(4 * seconds, _LONGEST))


def websocket(machine: Machine, front: Front, work: Work, seconds: float) -> Run:
    """Run load.c. It waits before and after what it counts, and nothing moves then: /proc is read at these moments.

    Raises:
        Failed: a handshake was refused, an echo was wrong, or it took too long.
        TooShort: no echo came in this time.
    """
    few = min(FEW, work.connections // 4)
    argv: list[str | Path] = [machine.load, work.kind, "127.0.0.1", str(front.port), "bench.localhost"]
    argv += [str(work.connections), str(few if work.kind == "idle" else work.size), str(seconds)]
    process = machine.start(
        argv, machine.client_core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        memory = []
        while (line := process.stdout.readline().strip()).startswith("held"):
            memory.append(processes.private_bytes(front.pids))
            process.stdin.write("\n")
            process.stdin.flush()
        if line != "warm":
            raise Failed(process.stderr.read().strip() or f"the client ended with {process.wait()}")
        backends = processes.running(machine.backend)
        before = processes.cpu_seconds(front.pids), processes.cpu_seconds(backends)
        process.stdin.write("\n")
        process.stdin.flush()
        line = process.stdout.readline()
        after = processes.cpu_seconds(front.pids), processes.cpu_seconds(backends)
        if not line:
            raise Failed(process.stderr.read().strip() or f"the client ended with {process.wait()}")
        said = json.loads(line)
        process.stdin.close()
        process.wait(_PATIENCE)
    except (subprocess.TimeoutExpired, BrokenPipeError) as error:
        raise Failed(str(error)) from error
    finally:
        stop(process)
    if not said["operations"]:
        raise TooShort(f"no operation in {seconds:g} s")
    more = work.connections - few
    per_socket = (memory[1] - memory[0]) / more if memory and more and front.pids else None
    return Run(
        said["operations"], said["seconds"], said["p50_us"], said["p99_us"],
        after[0] - before[0], said["cpu_seconds"], after[1] - before[1],
        said["held"], said["dropped"], per_socket,
    )  # fmt: skip


def http(machine: Machine, front: Front, work: Work, guard: str | None, seconds: float) -> Run:
    """Run wrk, once to warm up and once to count. /proc is read before it is started and when it has ended.

    So its connections' beginnings are counted, too: 64 among thousands of requests.

    Raises:
        Failed: an answer was no 2xx, or a connection broke.
        TooShort: no answer ended in this time.
    """
    argv = wrk_command(work, front.port, guard, machine.folder)
    _wrk(machine, argv, _WARM)
    backends = processes.running(machine.backend)
    before = processes.cpu_seconds(front.pids), processes.cpu_seconds(backends)
    text, client = _wrk(machine, argv, seconds)
    after = processes.cpu_seconds(front.pids), processes.cpu_seconds(backends)
    operations, took, p50, p99 = parsed(text)
    return Run(operations, took, p50, p99, after[0] - before[0], client, after[1] - before[1])


_SCRIPTS = {
    "up": 'wrk.method = "POST"\nwrk.body = string.rep("x", 10 * 1024 * 1024)\n',
    "paths": 'local n = 0\nrequest = function()\n  n = n + 1\n  return wrk.format("GET", "/" .. n)\nend\n',
}


def wrk_command(work: Work, port: int, guard: str | None, folder: Path) -> list[str]:
    """The command line of wrk, but for its end."""
    name = guard or "bench"
    host = f"{name}.localhost"
    headers = {"Host": host}
    if guard == "signed":
        headers |= dict(sign("GET", f"http://{host}/", KEY, time.time()).headers)
    elif guard == "jwt":
        headers["Authorization"] = f"Bearer {PAIR.token({'sub': 'bench'}, time.time())}"
    argv = [program("wrk"), "-t1", f"-c{work.connections}", "-d1h", "--timeout", "30s", "--latency"]
    for field, value in headers.items():
        argv += ["-H", f"{field}: {value}"]
    if work.kind in _SCRIPTS:
        script = folder / f"{work.kind}.lua"
        script.write_text(_SCRIPTS[work.kind])
        argv += ["-s", str(script)]
    return [*argv, f"http://127.0.0.1:{port}/{'10m' if work.kind == 'down' else ''}"]


def _wrk(machine: Machine, argv: list[str], seconds: float) -> tuple[str, float]:
    """Run wrk for a time; returns what it says, and its CPU time in seconds.

    It takes whole seconds only, but SIGINT ends it as well, and it says how long it ran.
    """
    before = _cpu_of_children()
    process = machine.start(argv, machine.client_core, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise Failed("wrk does not end") from error
    finally:
        stop(process)
    return text, _cpu_of_children() - before


def _cpu_of_children() -> float:
    """CPU time of the children that have ended, in seconds: those of this process end one at a time."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}


def parsed(text: str) -> tuple[int, float, float, float]:
    """What wrk says: requests, seconds, and the 50th and 99th percentile in microseconds.

    Raises:
        Failed: it says that something went wrong, or nothing at all.
        TooShort: it says that no request has ended.
    """
    for sign_of_failure in ("Non-2xx", "Socket errors"):
        for line in text.splitlines():
            if sign_of_failure in line:
                raise Failed(line.strip())
    count = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text)
    percentiles = [re.search(rf"\b{share}%\s+([\d.]+)(us|ms|s|m|h)\b", text) for share in (50, 99)]
    if count is not None and int(count[1]) == 0:
        raise TooShort(f"no request in {count[2]} {count[3]}")
    if count is None or None in percentiles:
        raise Failed("wrk says: " + (" / ".join(text.strip().splitlines()) or "nothing"))
    p50, p99 = (float(match[1]) * _UNITS[match[2]] for match in percentiles if match is not None)
    return int(count[1]), float(count[2]) * _UNITS[count[3]] / 1e6, p50, p99
