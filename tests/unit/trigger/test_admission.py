"""The order in which a request is checked against the trigger."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.errors import COMMON, FCError
from fcemu.model import Account
from fcemu.trigger.admission import Admission, admit
from fcemu.trigger.request import HeaderPairs, RequestHead
from fcemu.trigger.routing import Router


def decide(
    config: dict[str, Any] | None = None, host: str = "fn.localhost", method: str = "GET", target: str = "/",
    headers: HeaderPairs = (), domains: tuple[dict[str, Any], ...] = (),
) -> Admission:  # fmt: skip
    """Route and admit one request to the function `fn`."""
    trigger = {"methods": ["GET", "POST"], "authType": "anonymous", **(config or {})}
    account = Account.model_validate(
        {
            "functions": [{"functionName": "fn", "triggers": [{"triggerName": "http", "triggerConfig": trigger}]}],
            "customDomains": list(domains),
        }
    )
    head = RequestHead(method, target, ((b"Host", host.encode()), *headers))
    return admit(Router(account).route(head), head)


def refusal(*args: Any, **kw: Any) -> FCError:
    """The refusal of a request that must be refused; never billed, by the gateway, with a remedy."""
    with pytest.raises(FCError) as caught:
        decide(*args, **kw)
    error = caught.value
    assert (error.billed, error.error_type) == (False, COMMON)
    assert error.remedy
    return error


def test_anonymous_request_with_a_configured_method_enters() -> None:
    """An anonymous trigger accepts its methods."""
    assert decide(method="POST") == Admission()


def test_disabled_internet_url_is_refused_with_the_vendors_text() -> None:
    """DisableURLInternet closes the public address, with the vendor's message."""
    error = refusal({"disableURLInternet": True})
    assert (error.status, error.code) == (403, "AccessDenied")
    assert error.message == "access denied due to function internet URL is disabled"


def test_disabled_internet_url_leaves_the_internal_address_and_domains_open() -> None:
    """DisableURLInternet affects neither the VPC address nor custom domains."""
    domain = {"domainName": "a.test", "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]}}
    decide({"disableURLInternet": True}, host="fn-vpc.localhost")
    decide({"disableURLInternet": True}, host="a.test", domains=(domain,))


def test_method_that_is_not_configured_is_refused() -> None:
    """A method outside `methods` gets 403, and the log says which are allowed."""
    error = refusal(method="PUT")
    assert (error.status, error.code) == (403, "AccessDenied")
    assert "GET, POST" in error.reason


def test_upgrade_without_get_among_the_methods_says_what_websocket_needs() -> None:
    """A trigger without GET refuses a WebSocket and says that it needs GET."""
    assert "WebSocket needs GET" in refusal({"methods": ["POST"]}).remedy


def test_internet_url_is_refused_before_the_method_and_the_method_before_limits() -> None:
    """The order is: internet URL, method, limits; authentication comes after them."""
    closed = {"disableURLInternet": True, "authType": "function"}
    assert "internet URL" in refusal(closed, method="PUT", target="/" + "x" * 5000).message
    assert "method" in refusal({"authType": "function"}, method="PUT", target="/" + "x" * 5000).message
    assert refusal({"authType": "function"}, target="/" + "x" * 5000).status == 400


@pytest.mark.parametrize(
    ("kw", "text"),
    [
        ({"target": "/" + "x" * 4096}, "path and query are 4097 bytes"),
        ({"target": "/?" + "x" * 4095}, "path and query are 4097 bytes"),
        ({"headers": ((b"a", b"x" * 8192),)}, "headers are"),
        ({"headers": ((b"Content-Length", b"33554433"),), "method": "POST"}, "33554432 bytes"),
    ],
)
def test_request_over_a_limit_is_refused(kw: dict[str, Any], text: str) -> None:
    """A target over 4 KB, headers over 8 KB or a body over 32 MB get 400 InvalidArgument."""
    error = refusal(**kw)
    assert (error.status, error.code) == (400, "InvalidArgument")
    assert text in error.message


@pytest.mark.parametrize(
    "kw",
    [
        {"target": "/" + "x" * 4095},
        {"headers": ((b"a", b"x" * (8192 - len(b"Hostfn.localhosta"))),)},
        {"headers": ((b"Content-Length", b"33554432"),), "method": "POST"},
    ],
)
def test_request_at_a_limit_enters(kw: dict[str, Any]) -> None:
    """A request of exactly the allowed size enters."""
    decide(**kw)


@pytest.mark.parametrize(
    "hosts", [(), (b"a", b"b"), (b"a b",), (b"",), (b"a/b",), (b"a@b",), (b"[::1",), (b"a:b",), (b"a:1:2",)]
)
def test_uncertain_host_is_refused(hosts: tuple[bytes, ...]) -> None:
    """A request whose host is missing, repeated or malformed gets 400 before it is routed."""
    head = RequestHead("GET", "/", tuple((b"Host", host) for host in hosts))
    with pytest.raises(FCError) as caught:
        Router(Account(functions=[])).route(head)
    assert caught.value.status == 400


PREFLIGHT = ((b"Origin", b"https://a.test"), (b"Access-Control-Request-Method", b"POST"))


def test_preflight_is_answered_by_the_gateway_unless_the_trigger_has_options() -> None:
    """Without OPTIONS in `methods` the gateway answers a preflight, else the function does."""
    assert decide(method="OPTIONS", headers=PREFLIGHT).preflight
    assert not decide({"methods": ["GET", "OPTIONS"]}, method="OPTIONS", headers=PREFLIGHT).preflight
    assert refusal(method="OPTIONS").status == 403


def test_custom_domain_has_its_own_methods() -> None:
    """A domain's route checks its own methods, not the trigger's."""
    route = {"path": "/*", "functionName": "fn", "methods": ["GET", "PUT"]}
    domain = {"domainName": "a.test", "routeConfig": {"routes": [route]}}
    decide(host="a.test", domains=(domain,), method="PUT")
    assert refusal(host="a.test", domains=(domain,), method="POST").code == "AccessDenied"
