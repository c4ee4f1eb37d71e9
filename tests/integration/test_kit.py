"""The kit, as tests use it: through the fixture `fc`, and without pytest."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import psutil
import pytest
import websockets
import yaml

import fcemu
from fcemu.errors import ConfigError, FcemuError, StartError
from fcemu.journal import FaultFired, InstanceChanged, InvocationEnded, InvocationStarted, LogLine, Record
from fcemu.processes import cgroups
from fcemu.processes.identity import identity
from fcemu.processes.memory import MemoryWatch
from fcemu.testing.pytest_fixtures import Kits
from tests.conftest import FUNCTIONS
from tests.served import is_alive

METHODS = ["GET", "POST", "PUT"]

ECHO: dict[str, Any] = {
    "functionName": "fn",
    "code": str(FUNCTIONS),
    "timeout": 60,
    "instanceConcurrency": 20,
    "customRuntimeConfig": {"command": [sys.executable, "echo.py"]},
    "triggers": [{"triggerName": "http", "triggerConfig": {"methods": METHODS, "authType": "anonymous"}}],
    "fcemu": {"stopGrace": 0.5},
}

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module", autouse=True)
def _end_with_this_module(_fcemu_kits: Kits) -> Iterator[None]:
    """Stop all emulators at the end of this module; otherwise they live as long as the session."""
    yield
    assert _fcemu_kits.stop() == []
    _fcemu_kits._kits.clear()


@pytest.fixture(scope="module")
def fcemu_config() -> dict[str, Any]:
    """What `fc` serves here."""
    return ECHO


def several(**settings: Any) -> dict[str, Any]:
    """Two functions."""
    one = {key: value for key, value in ECHO.items() if key != "fcemu"}
    return {"functions": [one, {**one, "functionName": "Other"}], "fcemu": {**ECHO["fcemu"], **settings}}


# ---- requests


def test_request_arrives_as_it_was_sent(fc: fcemu.Kit) -> None:
    """Method, path, query, headers and body get to the function, and its answer comes back."""
    answer = fc.request("PUT", "/a/b?c=d", headers={"X-Mine": "1"}, body="hé")
    seen = answer.json()
    assert (seen["method"], seen["target"], seen["body"].encode("latin-1").decode()) == ("PUT", "/a/b?c=d", "hé")
    assert ["X-Mine", "1"] in seen["headers"]
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.text.encode() == answer.body


def test_request_sends_json(fc: fcemu.Kit) -> None:
    """A body can be given as JSON data."""
    seen = fc.request("POST", json={"a": [1]}).json()
    assert seen["body"] == '{"a": [1]}'
    assert ["Content-Type", "application/json"] in seen["headers"]


def test_refusal_has_code_and_message(fc: fcemu.Kit) -> None:
    """Errors of the gateway have a code and a message; answers of the function do not."""
    refused, answered = fc.request("DELETE"), fc.request("GET", "/refuse", headers=UPGRADE)
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert refused.message == "the http method 'DELETE' is not allowed"
    assert (answered.status, answered.code, answered.message) == (404, None, None)


def test_head_of_a_refusal_has_no_code(fc: fcemu.Kit) -> None:
    """A refusal without a body has no code."""
    refused = fc.request("HEAD")
    assert (refused.status, refused.body, refused.code) == (403, b"", None)


def test_record_is_there_when_the_answer_is(fc: fcemu.Kit) -> None:
    """When a request has its answer, the journal always has its record."""
    for count in range(1, 101):
        answer = fc.request("GET")
        assert len(fc.invocations) == count
        assert fc.invocations[-1].request_id == answer.request_id


def test_record_is_there_when_a_client_has_left(fc: fcemu.Kit) -> None:
    """When a client of the test itself has disconnected, the journal has the record of its request."""
    for count in range(1, 21):
        with socket.create_connection(("127.0.0.1", fc.port)) as client:
            client.sendall(b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
            fc.wait_for(InvocationStarted, nth=count)
        assert [record.closed_by for record in fc.invocations] == ["client"] * count


def test_handshake_can_be_a_request(fc: fcemu.Kit) -> None:
    """A test without an event loop can send a handshake as a request and see the answer; the socket is then closed."""
    assert fc.request("GET", headers=UPGRADE).status == 101
    assert [(record.status, record.close_code) for record in fc.invocations] == [(101, 1006)]


def test_no_whole_answer_is_an_error(fc: fcemu.Kit) -> None:
    """An incomplete answer raises an OSError, and so does one that takes too long."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(fc.request, "GET", "/sleep")
        fc.wait_for(InvocationStarted)
        with pytest.raises(TimeoutError):
            fc.request("GET", "/sleep", timeout=0.1)
        fc.reset()
        assert answer.result().code == "ServiceUnavailable"


def test_request_from_several_threads(fc: fcemu.Kit) -> None:
    """Requests can be sent from several threads."""
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: fc.request("GET").status, range(40)))
    assert statuses == [200] * 40
    assert len(fc.invocations) == 40


# ---- WebSockets


async def test_connect_and_its_record(fc: fcemu.Kit) -> None:
    """After `async with`, the journal has the record of the socket."""
    for count in range(1, 21):
        async with fc.connect("/room", headers={"X-Mine": "1"}, protocols=["chat"]) as ws:
            assert ws.protocol == "chat"
            await ws.send_str("hi")
            assert await ws.receive_str() == "hi"
        assert len(fc.invocations) == count
    assert {(record.target, record.close_code) for record in fc.invocations} == {("/room", 1000)}


async def test_connect_can_be_awaited(fc: fcemu.Kit) -> None:
    """A socket that was awaited stays open until the test closes it."""
    ws = await fc.connect()
    await ws.close()
    assert (await fc.expect_close(ws, 1000)).closed_by == "client"


async def test_connect_that_is_refused(fc: fcemu.Kit) -> None:
    """A refused handshake raises aiohttp's error, and leaves nothing open."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await fc.connect("/refuse")
    assert refused.value.status == 404


def test_connect_needs_a_loop(fc: fcemu.Kit) -> None:
    """Without a running asyncio loop, `connect` says what to do."""
    with pytest.raises(RuntimeError, match="fc.ws_url"):
        next(fc.connect().__await__())


async def test_expect_close(fc: fcemu.Kit) -> None:
    """The close code is read from a client of either library, after all messages before it."""
    for code in (1000, 4001):
        async with fc.connect() as ws, websockets.connect(fc.ws_url) as other:
            for client, send in ((ws, ws.send_str), (other, other.send)):
                await send("first")
                await send(f"close {code}")
                record = await fc.expect_close(client, code)
                assert (record.close_code, record.closed_by) == (code, "function")


@pytest.mark.fc(customRuntimeConfig={"command": [sys.executable, "rawsocket.py"]})
async def test_expect_close_without_a_code(fc: fcemu.Kit) -> None:
    """A Close frame without a code is distinguished from no Close frame."""
    async with fc.connect("/say?hex=8800") as ws:
        await fc.expect_close(ws, 1005)
    async with websockets.connect(f"{fc.ws_url}/say?hex=8800") as other:
        await fc.expect_close(other, 1005)


async def test_expect_close_names_who_closed(fc: fcemu.Kit) -> None:
    """If the code differs from the expected one, the failure says who closed the socket, and why."""
    async with fc.connect("/room") as ws:
        fc.clock.advance(60)
        with pytest.raises(AssertionError) as failed:
            await fc.expect_close(ws, 1000)
    text = str(failed.value)
    assert text.startswith("the WebSocket was closed with 1006, not with 1000:")
    assert "GET /room 101 close 1006 by timeout" in text
    assert "remedy: raise `timeout` of fn" in text


async def test_expect_close_of_an_open_socket(fc: fcemu.Kit) -> None:
    """A socket that stays open is a failure."""
    async with fc.connect() as ws:
        with pytest.raises(AssertionError, match=r"still open after 0\.1 s"):
            await fc.expect_close(ws, 1006, timeout=0.1)


# ---- time


@pytest.mark.fc(timeout=86400)
async def test_a_day_passes_at_once(fc: fcemu.Kit) -> None:
    """A timeout of a day is reached when the clock is advanced by a day, and not before."""
    async with fc.connect() as ws:
        fc.clock.advance(hours=23, minutes=59)
        await ws.send_str("still here")
        assert await ws.receive_str() == "still here"
        fc.clock.advance(minutes=1)
        record = await fc.expect_close(ws, 1006)
    assert (record.closed_by, record.billed_ms >= 86_400_000) == ("timeout", True)
    assert fc.billing["fn"].milliseconds == record.billed_ms


JOINED = """
import os
from aiohttp import web
async def join(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    print("joined", flush=True)
    async for message in socket: pass
    return socket
app = web.Application()
app.router.add_get("/", join)
web.run_app(app, host="0.0.0.0", port=int(os.environ["FC_SERVER_PORT"]), print=None)
"""


@pytest.mark.fc(customRuntimeConfig={"command": [sys.executable, "-c", JOINED]})
async def test_what_has_happened_has_happened_before_time_passes(fc: fcemu.Kit) -> None:
    """A socket that the function has accepted is cut at its timeout, not refused."""

    async def opened() -> aiohttp.ClientWebSocketResponse:
        return await fc.connect()

    for count in range(1, 11):
        connecting = asyncio.create_task(opened())
        await asyncio.to_thread(fc.wait_for, "joined", nth=count)
        fc.clock.advance(60)
        await fc.expect_close(await connecting, 1006)


def checked(period: int, fails: int) -> dict[str, Any]:
    """A function with a health check."""
    check = {"httpGetUrl": "/healthz", "periodSeconds": period, "failureThreshold": fails, "successThreshold": 2}
    return {"customRuntimeConfig": {"command": [sys.executable, "healthy.py"], "healthCheckConfig": check}}


async def test_health_checks_are_made_by_the_clock(tmp_path: Path) -> None:
    """When the clock is advanced, each health check that becomes due is made, in order."""
    health = tmp_path / "health"
    health.write_text("200")
    config = {**ECHO, **checked(period=120, fails=3), "environmentVariables": {"HEALTH": str(health)}}
    with fcemu.Kit.start({**config, "fcemu": {**ECHO["fcemu"], "freeze": "off", "idleTimeout": 86400}}) as kit:

        def states() -> list[str]:
            changes = [record for record in kit.journal if isinstance(record, InstanceChanged)]
            return [change.state for change in changes if change.state in ("unhealthy", "healthy")]

        kit.clock.advance(minutes=20)
        assert states() == []
        health.write_text("500")
        kit.clock.advance(minutes=5)
        assert states() == []
        kit.clock.advance(minutes=2)
        assert states() == ["unhealthy"]
        health.write_text("301")
        kit.clock.advance(minutes=4, seconds=30)
        assert states() == ["unhealthy", "healthy"]


def test_clock_does_not_go_back(fc: fcemu.Kit) -> None:
    """The clock cannot go back."""
    with pytest.raises(ValueError, match="cannot go back"):
        fc.clock.advance(minutes=1, seconds=-61)


def test_time_of_day_is_right_again_after_a_reset(fc: fcemu.Kit) -> None:
    """After a reset the time of day is the machine's again, so that it agrees with a client's own clock."""
    fc.clock.advance(days=3)
    assert fc.clock.now() > time.time() + 86400
    fc.reset()
    assert abs(fc.clock.now() - time.time()) < 60
    fc.clock.advance(hours=1)
    assert 3500 < fc.clock.now() - time.time() < 3700


# ---- how to get in


@pytest.mark.fc(triggerConfig={"authType": "function"})
def test_signatures_let_in(fc: fcemu.Kit) -> None:
    """A signature of each scheme is accepted while it is valid; a given header is signed with the others."""
    path = "/a%20b?c=d"
    for sent in (
        fc.sign("POST", path),
        fc.sign("POST", path, scheme="fc", headers={"x-fc-mine": "1"}),
        fc.sign("POST", path, scheme="acs", headers={"x-acs-mine": "1"}),
    ):
        assert fc.request("POST", path, headers=sent).status == 200
    target = fc.presign("POST", path, expires=1000)
    assert fc.request("POST", target).status == 200
    fc.clock.advance(901)
    assert fc.request("POST", path, headers=sent).code == "AccessDenied"
    assert fc.request("POST", target).status == 200
    fc.clock.advance(100)
    assert fc.request("POST", target).code == "AccessDenied"
    assert fc.request("POST", path, headers=fc.sign("POST", path)).status == 200


@pytest.mark.fc(accessKeys=[{"accessKeyId": "theirs", "accessKeySecret": "s", "securityToken": "t"}])
def test_configured_access_key_signs(fc: fcemu.Kit) -> None:
    """A key of the configuration takes precedence over any other."""
    assert fc.access_key.accessKeyId == "theirs"
    assert "Credential=theirs," in fc.sign("GET")["Authorization"]


def test_access_key_of_the_environment_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator accepts the key pair in the variables of the vendor's tools, with which a client may sign."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")
    with fcemu.Kit.start(ECHO, triggerConfig={"authType": "function"}) as kit:
        assert kit.access_key.accessKeyId == "mine"
        assert kit.request("GET", headers=kit.sign("GET")).status == 200


THEIRS = fcemu.KeyPair.generate()


@pytest.mark.fc(
    triggerConfig={"authType": "jwt", "authConfig": {"jwks": THEIRS.jwks(), "claimPassBy": "header:sub:x-user"}}
)
def test_tokens_let_in(fc: fcemu.Kit) -> None:
    """Tokens of the kit's own key are accepted, and so are those of a configured key."""
    ours, theirs = fc.token(sub="alice"), THEIRS.token({"sub": "bob"}, time.time())
    for token, user in ((ours, "alice"), (theirs, "bob")):
        seen = fc.request("GET", headers={"Authorization": f"Bearer {token}"}).json()
        assert ["x-user", user] in [[name.lower(), value] for name, value in seen["headers"]]
    assert fc.request("GET").code == "JWTTokenIsMissing"


def test_token_has_the_emulators_time(fc: fcemu.Kit) -> None:
    """A token expires by the emulator's clock."""
    fc.clock.advance(days=1)
    claims = jwt.decode(fc.token(expires=60, scope=["a"]), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 60
    assert claims["iat"] > time.time() + 86000
    assert claims["scope"] == ["a"]
    assert "exp" not in jwt.decode(fc.token(expires=None), options={"verify_signature": False})


# ---- what happened


def test_logs_are_what_functions_wrote(fc: fcemu.Kit) -> None:
    """`logs` has the lines of stdout and stderr."""
    with fcemu.Kit.start(ECHO) as kit:
        assert sorted(kit.logs) == ["a warning", "starting"]
    assert fc.logs == []


def test_journal_is_a_snapshot(fc: fcemu.Kit) -> None:
    """A list that a test has got does not change later."""
    fc.request("GET")
    before = fc.journal
    fc.request("GET")
    assert [type(record) for record in before] == [InvocationStarted, InvocationEnded]
    assert fc.journal[:2] == before
    assert len(fc.journal) == 4


def test_billing_begins_with_the_test(fc: fcemu.Kit) -> None:
    """The bill has only the invocations of this test."""
    assert fc.billing["fn"].invocations == 0
    fc.request("GET")
    assert fc.billing["fn"].invocations == 1


async def test_instances_tell_what_they_do(fc: fcemu.Kit) -> None:
    """`instances` says how many invocations each instance runs, and whether it is frozen."""
    async with fc.connect(), fc.connect():
        (instance,) = fc.instances
        assert (instance.function, instance.invocations, instance.frozen) == ("fn", 2, False)
    fc.clock.advance(1)
    assert fc.instances[0].frozen


def test_wait_for_finds_what_is_there_and_what_comes(fc: fcemu.Kit) -> None:
    """`wait_for` finds a record by type, by condition or by text in the log, the first or a later one."""
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fc.wait_for, InvocationEnded, nth=2)
        first, second = fc.request("GET", "/1"), fc.request("GET", "/2")
        assert waiting.result().request_id == second.request_id
    assert fc.wait_for(InvocationEnded).request_id == first.request_id
    by_target = fc.wait_for(lambda record: isinstance(record, InvocationEnded) and record.target == "/2")
    assert isinstance(by_target, InvocationEnded)
    assert by_target.request_id == second.request_id
    with ThreadPoolExecutor() as pool:
        line = pool.submit(fc.wait_for, "start", timeout=30)
        fc.clock.advance(hours=1)  # the idle instance is released, and the next request starts another one
        fc.request("GET")
        assert isinstance(found := line.result(), LogLine)
        assert found.text == "starting"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (InvocationStarted, "no InvocationStarted number 2 within 0.05 s, but:"),
        ("no such line", "no 'no such line' number 2 within 0.05 s, but:"),
        (lambda record: False, "no such record number 2 within 0.05 s, but:"),
    ],
    ids=["type", "text", "condition"],
)
def test_wait_for_says_what_happened_instead(fc: fcemu.Kit, what: Any, says: str) -> None:
    """If there is no such record, the failure shows the records that there are."""
    fc.request("GET", "/other")
    with pytest.raises(AssertionError) as failed:
        fc.wait_for(what, nth=2, timeout=0.05)
    assert str(failed.value).startswith(says)
    assert "GET /other 200" in str(failed.value)


def test_wait_for_with_a_condition_that_fails(fc: fcemu.Kit) -> None:
    """An exception of the test's own condition reaches the test, and does not harm the emulator."""

    def broken(record: Record) -> bool:
        raise KeyError("mine")

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fc.wait_for, broken)
        assert fc.request("GET").status == 200
        with pytest.raises(KeyError, match="mine"):
            waiting.result()


# ---- beginning anew


async def test_reset_cuts_and_forgets(fc: fcemu.Kit) -> None:
    """A reset cuts open connections and drops records; the instance stays."""
    (before,) = fc.instances
    async with websockets.connect(fc.ws_url) as ws:
        fc.reset()
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()
    assert fc.journal == []
    assert [instance.id for instance in fc.instances] == [before.id]


def test_reset_leaves_a_warm_instance(fc: fcemu.Kit) -> None:
    """After a reset there is an instance, whatever the test has done to the last one."""
    assert fc.request("GET", "/exit").code == "FunctionUnhandledError"
    fc.wait_for(lambda record: isinstance(record, InstanceChanged) and record.state == "ended")
    fc.reset()
    assert len(fc.instances) == 1
    fc.request("GET")
    assert not fc.invocations[0].cold_start


@pytest.mark.fc(fcemu={"start": "lazy"})
def test_reset_starts_nothing_where_starts_are_lazy(fc: fcemu.Kit) -> None:
    """With lazy starts a reset starts no instance, so that every test begins with a cold start."""
    assert fc.instances == []
    fc.request("GET")
    assert fc.invocations[0].cold_start


async def test_cut_open_tells_what_was_open(fc: fcemu.Kit) -> None:
    """A WebSocket and a request that clients have left open are cut and reported; others are not."""
    assert fc.cut_open(grace=0.1) == []
    fc.request("GET", "/over")
    request = asyncio.create_task(asyncio.to_thread(fc.request, "GET", "/sleep"))
    async with websockets.connect(f"{fc.ws_url}/room"):
        await asyncio.to_thread(fc.wait_for, InvocationStarted, nth=3)
        left = fc.cut_open(grace=0.1)
    assert {(record.kind, record.target) for record in left} == {("websocket", "/room"), ("http", "/sleep")}
    assert (await request).status == 503


BUSY = """
import os, time
from aiohttp import web
async def busy(request):
    await web.WebSocketResponse().prepare(request)
    print("busy", flush=True)
    time.sleep(3)
app = web.Application()
app.router.add_get("/", busy)
web.run_app(app, host="0.0.0.0", port=int(os.environ["FC_SERVER_PORT"]), print=None)
"""


@pytest.mark.fc(customRuntimeConfig={"command": [sys.executable, "-c", BUSY], "args": []})
def test_cut_open_blames_no_client_that_left(fc: fcemu.Kit) -> None:
    """If only the function has not yet noticed that its client is gone, nothing counts as left open."""
    fc.request("GET", headers=UPGRADE, timeout=1)
    fc.wait_for("busy")
    assert fc.cut_open(grace=0.1) == []
    assert fc.journal == []  # it was cut all the same


# ---- several functions


def test_addresses_of_several_functions() -> None:
    """Each function has its own address, in lower case; the kit's address is that of the first one."""
    with fcemu.Kit.start(several()) as kit:
        assert (kit.url, kit.ws_url) == (f"http://fn.localhost:{kit.port}", f"ws://fn.localhost:{kit.port}")
        assert kit.url_of("Other") == f"http://other.localhost:{kit.port}"
        assert kit.ws_url_of("Other") == f"ws://other.localhost:{kit.port}"
        kit.request("GET")
        kit.request("GET", function="Other")
        kit.request("GET", headers={"host": "other.localhost"})
        assert [record.function for record in kit.invocations] == ["fn", "Other", "Other"]
        with pytest.raises(ValueError, match="there is no function 'third'; configured: fn, Other"):
            kit.request("GET", function="third")


async def test_connect_to_one_of_several_functions() -> None:
    """A socket to one of several functions needs no name resolution."""
    with await asyncio.to_thread(fcemu.Kit.start, several()) as kit:
        async with kit.connect(function="Other"):
            pass
        assert kit.invocations[0].function == "Other"


def test_addresses_of_one_function(fc: fcemu.Kit) -> None:
    """A single function has an address that every client can resolve."""
    assert (fc.url, fc.ws_url) == (f"http://127.0.0.1:{fc.port}", f"ws://127.0.0.1:{fc.port}")


# ---- start and stop


def test_start_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is relative to the current folder; the settings of the file apply."""
    (tmp_path / ".env").write_text("SECRET=from the file\n")
    settings = {**ECHO["fcemu"], "listen": "127.0.0.1:1", "envFile": ".env"}
    (tmp_path / "trigger.yaml").write_text(yaml.safe_dump({**ECHO, "fcemu": settings}))
    monkeypatch.chdir(tmp_path)
    with fcemu.Kit.start() as kit:
        assert kit.request("GET", "/environment").json()["SECRET"] == "from the file"
        assert kit.port > 1


def test_start_names_the_line_of_a_mistake() -> None:
    """A mistake in an override is reported with the line of the test."""
    with pytest.raises(ConfigError) as caught:
        fcemu.Kit.start(ECHO, timeout=0)
    line = caught.traceback[0].lineno + 1
    assert str(caught.value) == f"{__file__}:{line}: timeout: expected a number from 1 to 86400, found 0"


def test_start_without_code_names_the_folder() -> None:
    """A folder that does not exist is reported before anything is started."""
    with pytest.raises(ConfigError, match=r"code: the folder \S*/nowhere does not exist"):
        fcemu.Kit.start(ECHO, code="nowhere")


def test_start_that_fails_tells_why_and_leaves_nothing() -> None:
    """If the start fails, the error has the function's last output, and no thread and no process is left."""
    threads, children = threading.active_count(), psutil.Process().children()
    command = [sys.executable, "-c", "print('I cannot'); raise SystemExit(3)"]
    with pytest.raises(StartError, match="I cannot"):
        fcemu.Kit.start(ECHO, customRuntimeConfig={"command": command})
    assert threading.active_count() == threads
    assert psutil.Process().children() == children


def test_stop_ends_everything() -> None:
    """`stop` leaves no process; a second `stop` does nothing; the kit refuses to be used afterwards."""
    with fcemu.Kit.start(ECHO) as kit:
        process = psutil.Process(kit.request("GET", "/pid").json()["pid"])
        assert is_alive(process)
    assert not is_alive(process)
    kit.stop()
    with pytest.raises(RuntimeError, match="has been stopped"):
        _ = kit.journal


def test_stop_tells_what_is_left() -> None:
    """`stop` names a process of an instance that is still running."""
    kit = fcemu.Kit.start(ECHO)
    variables = {**os.environ, "FC_INSTANCE_ID": kit.instances[0].id, "FCEMU_RUN": identity(os.getpid()) or ""}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=variables) as left:
        with pytest.raises(FcemuError, match=f"still running: pid {left.pid} of "):
            kit.stop()
        left.kill()


def test_emulators_thread_cannot_wait_for_itself(fc: fcemu.Kit) -> None:
    """A call from the emulator's own thread is an error instead of a deadlock."""
    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        fc.call(lambda emulator: fc.journal)


def test_call_is_the_way_to_the_emulator(fc: fcemu.Kit) -> None:
    """A function and a coroutine function get the emulator, in its thread; errors come back."""

    async def name(emulator: fcemu.Emulator) -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert fc.call(name) == "fcemu"
    assert fc.call(lambda emulator: emulator.port) == fc.port
    with pytest.raises(ZeroDivisionError):
        fc.call(lambda emulator: 1 // 0)


def test_port_is_on_loopback_alone(fc: fcemu.Kit) -> None:
    """The emulator listens only on loopback."""
    listening = [c.laddr for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening if address.port == fc.port} == {"127.0.0.1"}
    with socket.create_connection(("127.0.0.1", fc.port)):
        pass


async def test_fault_lasts_as_long_as_its_block(fc: fcemu.Kit) -> None:
    """A fault affects connections within its block and counts them; later connections are not affected."""
    with fc.fault(name="busy", refuse=503) as busy:
        assert fc.request("GET").code == "ResourceThrottled"
        assert (busy.matched, busy.fired) == (1, 1)
    assert fc.request("GET").status == 200
    with fc.fault(close=1012, after={"messages": 1}, direction="toClient"):
        async with fc.connect() as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
            record = await fc.expect_close(ws, 1012)
    assert record.closed_by == "fault"
    assert [fired.rule for fired in fc.journal if isinstance(fired, FaultFired)] == ["busy", "close"]


def test_fault_that_cannot_be_is_told(fc: fcemu.Kit) -> None:
    """Keys that are not a valid rule are refused, and a reset within the block does no harm."""
    with pytest.raises(ConfigError, match="exactly one of"), fc.fault():
        pass
    with fc.fault(refuse=429):
        fc.reset()
    assert fc.request("GET").status == 200


@pytest.mark.fc(
    instanceConcurrency=200,
    sessionAffinity="HEADER_FIELD",
    sessionAffinityConfig={"affinityHeaderFieldName": "x-session", "disableSessionIdReuse": True},
)
def test_session_ends_by_the_clock(fc: fcemu.Kit) -> None:
    """A session ends after half an hour of idling; its id is refused for three days and accepted afterwards."""
    for after, status in ({}, 200), ({"minutes": 29}, 200), ({"minutes": 31}, 401), ({"days": 3}, 200):
        fc.clock.advance(**after)
        assert fc.request("GET", headers={"x-session": "ann"}).status == status


def test_day_is_not_watched_in_quarters_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is measured in real time: advancing the clock by a day causes no measurements."""
    looks: list[None] = []
    look = MemoryWatch._look

    def counted(watch: MemoryWatch) -> None:
        looks.append(None)
        look(watch)

    monkeypatch.setattr(cgroups, "candidates", lambda ability: [])
    monkeypatch.setattr(MemoryWatch, "_look", counted)
    with fcemu.Kit.start(ECHO) as kit:
        kit.clock.advance(days=1)
    assert len(looks) < 1000
