"""The port binding needs no root, no capability, and not even `pidfd_getfd`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fcemu.emulator import Emulator
from fcemu.instances.machine import try_port_binding
from fcemu.model import Account, Function, Settings
from fcemu.processes.keeper_client import KeeperClient
from tests.conftest import function
from tests.denied import PIDFD_GETFD, deny
from tests.integration.test_port_binding import fixed, free_port, used_instances

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's user notification is Linux's")

ROOT = Path(__file__).parent.parent.parent
UNPRIVILEGED = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
PROBE = "import fcemu.emulator, tests.integration.test_privileges"
AGAIN = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True)"
"""setpriv still has root's eyes when it executes Python; what that one can execute is what counts."""


# ---- the small program that the tests run: python -m tests.integration.test_privileges [deny | sample FOLDER]


async def open_sockets(made: Function, number: int) -> dict[str, Any]:
    """Open this many sockets to a function that is hard-wired to a port, and report the result."""
    keeper = KeeperClient()
    tested = await try_port_binding(keeper)
    await asyncio.to_thread(keeper.close)
    settings = Settings(listen="127.0.0.1:0", portBinding="seccomp", stopGrace=1)
    account = Account(functions=[made], fcemu=settings)
    echoes = []
    async with Emulator(account) as emulator, aiohttp.ClientSession() as client:
        sockets = [await client.ws_connect(emulator.url) for _ in range(number)]
        for sent, ws in enumerate(sockets):
            await ws.send_str(str(sent))
            echoes.append(await ws.receive_str())
        for ws in sockets:
            await ws.close()
    (capabilities,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")]
    return {
        "self_test": tested,
        "echoes": echoes,
        "instances": len(used_instances(emulator)),
        "uid": os.geteuid(),
        "capabilities": int(capabilities.split()[1], 16),
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["deny"]:
        deny(PIDFD_GETFD)
    if sys.argv[1:2] == ["sample"]:
        runtime = {"command": ["node"], "args": ["index.js"], "port": 9000}
        vendors = function(code=sys.argv[2], customRuntimeConfig=runtime, instanceConcurrency=2)
        print(json.dumps(asyncio.run(open_sockets(vendors, 10))))
    else:
        print(json.dumps(asyncio.run(open_sockets(fixed(free_port(), instanceConcurrency=1), 3))))


# ---- the tests


def run(command: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, far from the root's home."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=100, check=False)


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the small program has printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can read; pytest's own are their owner's only."""
    with tempfile.TemporaryDirectory(prefix="fcemu-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def copied_packages(folder: Path) -> Path:
    """A copy of the installed packages that every user can read."""
    target = folder / "packages"
    for name in ("purelib", "platlib"):
        shutil.copytree(
            sysconfig.get_path(name), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    return target


def unprivileged(folder: Path) -> tuple[list[str], str]:
    """A command by which user 1000 can run Python with our packages, and the PYTHONPATH for it.

    Interpreter, packages and checkout may be below /root: what that user cannot read is copied, found out by trying.
    """
    if shutil.which("setpriv") is None:
        pytest.fail("run as root, this test needs setpriv (util-linux) to become somebody else")
    for name in ("fcemu", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    packages = os.pathsep.join(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
    tried = []
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"  # the packages' extensions are for this one only
    others = [shutil.which(version, path=path) for path in ("/usr/local/bin", "/usr/bin", "/opt/python/bin")]
    for python in filter(None, (sys.executable, *others)):
        command = [*UNPRIVILEGED, python]
        if run([*command, "-c", AGAIN, "-c", "import ssl, ctypes"], folder).returncode != 0:
            tried.append(f"{command[-1]} cannot be run by user 1000")
            continue
        for copy in (False, True):
            path = str(copied_packages(folder)) if copy else packages
            done = run([*command, "-c", AGAIN, "-c", PROBE], folder, PYTHONPATH=path)
            if done.returncode == 0:
                return command, path
            tried.append(f"{command[-1]} with {path}: {done.stderr.strip()[-300:]}")
    pytest.fail("no Python and packages that user 1000 can read:\n" + "\n".join(tried))


def test_port_binding_works_without_privileges(public_folder: Path) -> None:
    """A user without capabilities can run three instances of a function that is hard-wired to one port."""
    command, path = ([sys.executable], "") if os.geteuid() else unprivileged(public_folder)
    cwd = ROOT if os.geteuid() else public_folder
    found = outcome(run([*command, "-m", "tests.integration.test_privileges"], cwd, PYTHONPATH=path))
    assert found["uid"] != 0
    assert found["capabilities"] == 0
    assert found["self_test"] in (False, True)
    assert (found["echoes"], found["instances"]) == (["0", "1", "2"], 3)


def test_vendors_sample_works_without_privileges(public_folder: Path, echo_node: Path) -> None:
    """Ten sockets at concurrency 2 are in five instances of the vendor's sample, all on port 9000, for any user."""
    shutil.copytree(echo_node, public_folder / "echo-node")
    command, path = ([sys.executable], "") if os.geteuid() else unprivileged(public_folder)
    cwd = ROOT if os.geteuid() else public_folder
    program = ["-m", "tests.integration.test_privileges", "sample", str(public_folder / "echo-node")]
    found = outcome(run([*command, *program], cwd, PYTHONPATH=path))
    assert (found["uid"] != 0, found["capabilities"]) == (True, 0)
    assert (found["echoes"], found["instances"]) == ([str(sent) for sent in range(10)], 5)


def test_port_binding_works_where_sockets_cannot_be_duplicated() -> None:
    """With pidfd_getfd denied the self-test chooses to replace sockets, and there are three instances as well."""
    found = outcome(run([sys.executable, "-m", "tests.integration.test_privileges", "deny"], ROOT))
    assert found["self_test"] is True
    assert (found["echoes"], found["instances"]) == (["0", "1", "2"], 3)
