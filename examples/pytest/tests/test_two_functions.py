"""Tests of several functions behind one address, configured without a file."""

import sys

import pytest


def function(name, says):
    """A function that gives every client the same answer."""
    server = f"""
from aiohttp import web
async def say(request):
    return web.Response(text={says!r})
app = web.Application()
app.router.add_get("/", say)
web.run_app(app, host="0.0.0.0", port=9000, print=None)
"""
    return {
        "functionName": name,
        "customRuntimeConfig": {"command": [sys.executable, "-c", server]},
        "triggers": [{"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}],
    }


@pytest.fixture
def fcemu_config():
    """The configuration that `fc` serves in this file."""
    return {"functions": [function("api", "hello"), function("admin", "who are you?")]}


def test_each_has_its_address(fc):
    """Each function has its own address; a client that cannot resolve it can send it as the Host header."""
    assert fc.url_of("admin") == f"http://admin.localhost:{fc.port}"
    assert fc.request("GET", function="admin").text == "who are you?"
    assert fc.request("GET", headers={"Host": "api.localhost"}).text == "hello"


@pytest.mark.fc(function="admin", triggerConfig={"disableURLInternet": True})
def test_one_is_closed(fc):
    """A marker can change the keys of one function only."""
    assert fc.request("GET", function="admin").code == "AccessDenied"
    assert fc.request("GET", function="api").status == 200
