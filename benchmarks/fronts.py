"""What stands between client and function? Each front as its users would run it, one worker on one core."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks import processes
from benchmarks.machine import Failed, Machine, Missing, free_port, stop
from fcemu import KeyPair
from fcemu.model import AccessKey

_PEERS = Path(__file__).with_name(".peers")
"""Where npm's packages are kept between runs; git ignores it."""

_READY_WITHIN, _INSTALLED_WITHIN = 60.0, 120.0
"""Seconds that a front has to take connections, and npm to install."""

KEY = AccessKey(accessKeyId="bench", accessKeySecret="bench-secret")
PAIR = KeyPair.generate("ES256")
ANYBODY: dict[str, object] = {"authType": "anonymous"}
"""The guard of a function that asks nobody who they are."""


@dataclass(frozen=True)
class Front:
    """A front that takes connections on 127.0.0.1.

    Attributes:
        pid: of the process that was started; None where there is no front.
        alone: the processes that it has started are not the front, but the function's side.
    """

    name: str
    port: int
    pid: int | None
    alone: bool = False

    @property
    def pids(self) -> list[int]:
        """Its own processes. nginx's worker comes after its port."""
        if self.pid is None:
            return []
        return [self.pid] if self.alone else processes.family(self.pid)


@contextlib.contextmanager
def backend(machine: Machine) -> Iterator[int]:
    """The function as a plain server, for the fronts that start none; yields its port."""
    environment = {} if machine.client_core is None else {"BENCH_CPU": str(machine.client_core)}
    process = machine.start([machine.backend, "0"], None, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        stop(process)


@contextlib.contextmanager
def direct(machine: Machine) -> Iterator[Front]:
    """No front at all: what client and backend are good for."""
    with backend(machine) as port:
        yield Front("direct", port, None)


@contextlib.contextmanager
def nginx(machine: Machine, name: str = "nginx", buffers: str = "") -> Iterator[Front]:
    """One worker with an access log, and every limit that could end a long run lifted; buffers as nginx has them."""
    executable = program("nginx")
    folder = machine.folder / name
    folder.mkdir(exist_ok=True)
    port = free_port()
    with backend(machine) as target:
        user = "user root root;" if os.geteuid() == 0 else ""  # else its worker could not enter the folder
        places = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in _NGINX_TEMPORARY)
        (folder / "nginx.conf").write_text(f"""\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {_files()};
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 40000; }} # with few to spare it would drop those that have asked for nothing yet
http {{
    access_log {folder}/access.log combined;
{places}
    {buffers}
    proxy_max_temp_file_size 0; # a slow client must not make this a benchmark of the disk
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream function {{
        server 127.0.0.1:{target};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://function;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_request_buffering off;
            proxy_read_timeout 1d;
            proxy_send_timeout 1d;
        }}
    }}
}}
""")
        argv: list[str | Path] = [executable, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
        with _serving(machine, name, argv, port) as front:
            yield front


def nginx_64k(machine: Machine) -> contextlib.AbstractContextManager[Front]:
    """The same with larger buffers: its own of 4 and 8 KB mean many system calls where messages or bodies are large."""
    return nginx(
        machine,
        "nginx-64k",
        "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; client_body_buffer_size 64k;",
    )


_NGINX_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextlib.contextmanager
def haproxy(machine: Machine) -> Iterator[Front]:
    """One thread, with a log."""
    executable = program("haproxy")
    folder = machine.folder / "haproxy"
    folder.mkdir(exist_ok=True)
    port = free_port()
    with backend(machine) as target:
        # A connection has two ends, and what haproxy opens for itself must fit as well.
        most = min(30_000, (_files() - 200) // 2)
        (folder / "haproxy.cfg").write_text(f"""\
global
    nbthread 1
    maxconn {most}
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    http-reuse always
    maxconn {most}
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout http-keep-alive 1h
frontend front
    bind 127.0.0.1:{port} backlog 4096
    default_backend function
backend function
    server function 127.0.0.1:{target}
""")
        with _serving(machine, "haproxy", [executable, "-db", "-f", folder / "haproxy.cfg"], port) as front:
            yield front


@contextlib.contextmanager
def http_proxy(machine: Machine) -> Iterator[Front]:
    """npm's http-proxy, with an agent that keeps connections; it has no log."""
    executable = program("node")
    if not (_PEERS / "node_modules" / "http-proxy").is_dir():
        npm = program("npm")
        _PEERS.mkdir(exist_ok=True)
        install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(_PEERS), "http-proxy@1"]
        try:
            subprocess.run(install, capture_output=True, timeout=_INSTALLED_WITHIN, check=True)
        except subprocess.SubprocessError as error:
            raise Missing("npm could not install http-proxy") from error
    port = free_port()
    with backend(machine) as target:
        script = Path(__file__).with_name("http_proxy.js")
        environment = {"NODE_PATH": str(_PEERS / "node_modules"), "NODE_ENV": "production", "NODE_NO_WARNINGS": "1"}
        argv: list[str | Path] = [executable, script, str(port), str(target)]
        with _serving(machine, "http-proxy", argv, port, environment) as front:
            yield front


def function(machine: Machine, listens: Path, name: str, guard: dict[str, object]) -> dict[str, object]:
    """A function with a trigger that is guarded so; its first instance notes in `listens` when it listened."""
    environment = {"BENCH_LISTENS": str(listens)}
    if machine.client_core is not None:
        environment["BENCH_CPU"] = str(machine.client_core)
    return {
        "functionName": name,
        "timeout": 86400,
        "instanceConcurrency": 200,
        "customRuntimeConfig": {"command": [str(machine.backend)]},
        "environmentVariables": environment,
        "triggers": [{"triggerName": "http", "triggerConfig": {"methods": ["GET", "POST", "PUT"], **guard}}],
    }


def configuration(machine: Machine, listens: Path) -> dict[str, object]:
    """The trigger's configuration: the same function three times, each guarded in another way."""
    guards: dict[str, dict[str, object]] = {
        "bench": ANYBODY,
        "signed": {"authType": "function"},
        "jwt": {"authType": "jwt", "authConfig": {"jwks": PAIR.jwks()}},
    }
    return {
        "functions": [function(machine, listens, name, guard) for name, guard in guards.items()],
        "accessKeys": [{"accessKeyId": KEY.accessKeyId, "accessKeySecret": KEY.accessKeySecret}],
    }


@contextlib.contextmanager
def fcemu(
    machine: Machine, configured: Callable[[Machine, Path], dict[str, object]] = configuration
) -> Iterator[Front]:
    """`fcemu serve` as users run it: a trigger's configuration, the scheduler, the bill, the journal and its log.

    Its own process is the one that was started. Keeper, guards and instances are the function's side: they wait while
    requests pass.
    """
    folder = machine.folder / "fcemu"
    folder.mkdir(exist_ok=True)
    ready, listens = folder / "ready.json", folder / "listens"
    ready.unlink(missing_ok=True)
    listens.unlink(missing_ok=True)
    (folder / "trigger.yaml").write_text(yaml.safe_dump(configured(machine, listens)))
    argv: list[str | Path] = [sys.executable, "-m", "fcemu", "serve", folder / "trigger.yaml"]
    argv += ["--port", "0", "--ready-file", ready]
    state = {"XDG_STATE_HOME": str(folder / "state")}
    with open(folder / "log", "w") as log:
        process = machine.start(argv, machine.front_core, stdout=log, stderr=subprocess.STDOUT, env=state)
        try:
            _wait(process, "fcemu", folder / "log", ready.exists)
            facts = json.loads(ready.read_text())
            yield Front("fcemu", facts["port"], facts["pid"], alone=True)
        finally:
            stop(process, 60)


FRONTS: dict[str, Callable[[Machine], contextlib.AbstractContextManager[Front]]] = {
    "direct": direct,
    "nginx": nginx,
    "nginx-64k": nginx_64k,
    "haproxy": haproxy,
    "http-proxy": http_proxy,
    "fcemu": fcemu,
}
"""In the order in which they are measured and shown."""


def program(name: str) -> str:
    """Where a program is.

    Raises:
        Missing: it is not installed.
    """
    where = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if where is None:
        raise Missing(f"{name} is not installed")
    return where


def _files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextlib.contextmanager
def _serving(
    machine: Machine, name: str, argv: list[str | Path], port: int, environment: dict[str, str] | None = None
) -> Iterator[Front]:
    """Run a front's program until it takes connections; all its processes are the front."""
    log = machine.folder / f"{name}.log"
    with open(log, "w") as opened:
        process = machine.start(argv, machine.front_core, stdout=opened, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait(process, name, log, lambda: _accepts(port))
            yield Front(name, port, process.pid)
        finally:
            stop(process)


def _wait(process: subprocess.Popen[str], name: str, log: Path, ready: Callable[[], bool]) -> None:
    """Wait until a front is ready.

    Raises:
        Failed: it ended, or took too long.
    """
    until = time.monotonic() + _READY_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            last = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise Failed(f"{name} does not start: " + " / ".join(last))
        time.sleep(0.005)


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
