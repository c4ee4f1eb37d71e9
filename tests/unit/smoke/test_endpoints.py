"""The endpoints of a function."""

from __future__ import annotations

from typing import Any

from fcemu.clients.request import UPGRADE
from fcemu.model import Account, Function
from fcemu.smoke.endpoints import Endpoint, host_of, route_endpoints, trigger_endpoints

ENDPOINT = Endpoint("fn", "fn.localhost", "/x", ("POST", "GET"), "anonymous", None, trigger="http")


def trigger(name: str, qualifier: str = "LATEST", **config: Any) -> dict[str, Any]:
    """An anonymous trigger's data."""
    config = {"methods": ["GET"], "authType": "anonymous", **config}
    return {"triggerName": name, "qualifier": qualifier, "triggerConfig": config}


def function(*triggers: dict[str, Any]) -> Function:
    """A function with these triggers."""
    return Function.model_validate({"functionName": "Chat", "triggers": list(triggers)})


def test_default_trigger_has_the_functions_own_address() -> None:
    """The trigger of LATEST has the function's name in lower case as its host, and the given path."""
    (endpoint,) = trigger_endpoints(function(trigger("http")), "/room")
    assert (endpoint.host, endpoint.path, endpoint.name) == ("chat.localhost", "/room", "http")


def test_other_version_is_named_in_the_path() -> None:
    """A trigger of another version is reached in the FC 2.0 form, which names it (semantics 1.1)."""
    _, endpoint = trigger_endpoints(function(trigger("http"), trigger("old", "3")), "/room")
    assert endpoint.host.endswith(".fc.aliyuncs.com")
    assert endpoint.path == "/2016-08-15/proxy/smoke.3/Chat/room"


def test_disabled_internet_address_leaves_the_internal_one() -> None:
    """With `disableURLInternet` the open endpoint is the internal address, and the closed one the public address."""
    closed = function(trigger("http", disableURLInternet=True))
    assert [endpoint.host for endpoint in trigger_endpoints(closed, "/")] == ["chat-vpc.localhost"]
    assert [endpoint.host for endpoint in trigger_endpoints(closed, "/", internet=True)] == ["chat.localhost"]
    assert trigger_endpoints(function(trigger("http")), "/", internet=True) == []


def test_routes_of_domains_lead_to_the_function() -> None:
    """Each route to the function is an endpoint; a prefix is followed by the path, an exact route is the path."""
    routes = [
        {"path": "/api/*", "functionName": "Chat", "methods": ["POST"]},
        {"path": "/exact", "functionName": "Chat"},
        {"path": "/other", "functionName": "other"},
    ]
    account = Account.model_validate(
        {
            "functions": [{"functionName": "Chat"}, {"functionName": "other"}],
            "customDomains": [{"domainName": "*.example.com", "routeConfig": {"routes": routes}}],
        }
    )
    first, second = route_endpoints(account, account.functions[0], "/room")
    assert (first.host, first.path, first.methods) == ("fcemu-smoke.example.com", "/api/room", ("POST",))
    assert (second.path, "GET" in second.methods) == ("/exact", True)
    assert first.name == "*.example.com/api/room"
    assert first.host == host_of(account.customDomains[0])


def test_plain_request_takes_the_most_harmless_method() -> None:
    """GET is preferred to methods that may change something; HEAD comes last because its answer has no body."""
    assert ENDPOINT.request().method == "GET"
    assert Endpoint("fn", "h", "/", ("HEAD", "DELETE"), "anonymous", None).method == "DELETE"
    assert ENDPOINT.request(target="/y", body=b"x").target == "/y"


def test_handshake_goes_to_the_same_address() -> None:
    """An upgrade is a GET with the handshake's headers."""
    assert (ENDPOINT.upgrade().method, ENDPOINT.upgrade().target, ENDPOINT.upgrade().headers) == ("GET", "/x", UPGRADE)
