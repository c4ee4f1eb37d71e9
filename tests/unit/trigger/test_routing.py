"""From host and path to a function."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcemu.errors import FCError, Refusal
from fcemu.model import Account
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Router


def account(*names: str, **more: Any) -> Account:
    """Functions with an anonymous LATEST trigger each."""
    return Account.model_validate(
        {
            "functions": [
                {
                    "functionName": name,
                    "triggers": [
                        {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
                    ],
                }
                for name in names
            ],
            **more,
        }
    )


def head(host: str, target: str = "/", *more: tuple[bytes, bytes]) -> RequestHead:
    """A GET request."""
    return RequestHead("GET", target, ((b"Host", host.encode()), *more))


ONE = Router(account("echo"))
TWO = Router(
    account(
        "Echo",
        "chat-room",
        customDomains=[
            {
                "domainName": "ws.example.com",
                "routeConfig": {
                    "routes": [
                        {"path": "/login", "functionName": "chat-room"},
                        {"path": "/api/*", "functionName": "Echo"},
                        {"path": "/api/v2/*", "functionName": "chat-room"},
                    ]
                },
            },
            {
                "domainName": "*.example.com",
                "routeConfig": {"routes": [{"path": "/*", "functionName": "Echo", "qualifier": "prod"}]},
            },
        ],
    )
)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost", "[::1]:80", "anything.test", "x.cn-hangzhou.fcapp.run"]
)
def test_one_function_is_reached_by_any_host(host: str) -> None:
    """With one function, every host leads to it, as its public address."""
    route = ONE.route(head(host))
    assert (route.function.functionName, route.public, route.qualifier) == ("echo", True, "LATEST")


@pytest.mark.parametrize(
    ("host", "name", "public"),
    [
        ("echo.localhost:8080", "Echo", True),
        ("ECHO.localhost", "Echo", True),
        ("echo-vpc.localhost", "Echo", False),
        ("chat-room.localhost", "chat-room", True),
        ("chat-room-abcdefghij.cn-hangzhou.fcapp.run", "chat-room", True),
        ("chat-room-abcdefghij.cn-hangzhou-vpc.fcapp.run", "chat-room", False),
        ("echo.cn-shanghai.fcapp.run", "Echo", True),
    ],
)
def test_host_names_the_function(host: str, name: str, public: bool) -> None:
    """Local addresses and those of the cloud name a function, public or internal."""
    route = TWO.route(head(host))
    assert (route.function.functionName, route.public) == (name, public)


@pytest.mark.parametrize(
    ("host", "target", "code"),
    [
        ("nobody.localhost", "/", "FunctionNotFound"),
        ("nobody-abcdefghij.cn-hangzhou.fcapp.run", "/", "FunctionNotFound"),
        ("127.0.0.1:8080", "/", "DomainNameNotFound"),
        ("ws.example.com", "/nowhere", "DomainRouteNotFound"),
        ("ws.example.com", "/login/", "DomainRouteNotFound"),
        ("ws.example.com", "/api", "DomainRouteNotFound"),
        ("a.b.example.com", "/", "DomainNameNotFound"),
        ("127.0.0.1", "/2016-08-15/proxy/svc/nobody/", "FunctionNotFound"),
        ("127.0.0.1", "/2016-08-15/proxy/svc.prod/Echo/", "TriggerNotFound"),
    ],
)
def test_unknown_address_is_404(host: str, target: str, code: str) -> None:
    """An unknown address gets the documented 404."""
    with pytest.raises(FCError) as caught:
        TWO.route(head(host, target))
    assert (caught.value.status, caught.value.code, caught.value.billed) == (404, code, False)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/login", "chat-room"),
        ("/login?next=/x", "chat-room"),
        ("/api/x", "Echo"),
        ("/api/", "Echo"),
        ("/api/v2/x", "chat-room"),
    ],
)
def test_custom_domain_prefers_exact_then_longest_prefix(target: str, name: str) -> None:
    """In a custom domain, an exact path takes precedence over prefixes, and a longer prefix over a shorter one."""
    route = TWO.route(head("WS.example.com:443", target))
    assert route.function.functionName == name
    assert route.domain is not None
    assert not route.default_domain


def test_wildcard_domain_stands_for_one_label() -> None:
    """A wildcard domain matches one label, after the exact names."""
    route = TWO.route(head("other.example.com"))
    assert (route.function.functionName, route.qualifier) == ("Echo", "prod")


@pytest.mark.parametrize("router", [ONE, TWO])
def test_fc2_path_form_names_the_function(router: Router) -> None:
    """The FC 2.0 path form reaches the function, which sees the full path and its prefix as base path."""
    route = router.route(head("123.cn-hangzhou.fc.aliyuncs.com", "/2016-08-15/proxy/svc.LATEST/echo/a/b?c"))
    assert route.function.functionName.lower() == "echo"
    assert route.base_path == "/2016-08-15/proxy/svc.LATEST/echo"
    assert route.public


def test_fc2_internal_host_is_not_public() -> None:
    """The internal FC 2.0 endpoint is not the internet URL."""
    assert not TWO.route(head("123.cn-hangzhou-internal.fc.aliyuncs.com", "/2016-08-15/proxy/s/Echo/")).public


def test_invocation_target_header_names_the_function() -> None:
    """x-fc-invocation-target does what the FC 2.0 path does, and leaves the path short."""
    target = (b"x-fc-invocation-target", b"2016-08-15/proxy/svc/chat-room")
    route = TWO.route(head("123.cn-hangzhou.fc.aliyuncs.com", "/short", target))
    assert (route.function.functionName, route.base_path) == ("chat-room", "")


def test_function_without_trigger_is_404() -> None:
    """A function that has no HTTP trigger answers TriggerNotFound."""
    router = Router(Account.model_validate({"functions": [{"functionName": "fn"}]}))
    with pytest.raises(FCError) as caught:
        router.route(head("127.0.0.1"))
    assert (caught.value.status, caught.value.code) == (404, "TriggerNotFound")


def test_triggers_own_url_is_an_address() -> None:
    """The real URL of a trigger, written in the configuration, routes as in the cloud."""
    functions = [
        {
            "functionName": name,
            "triggers": [
                {
                    "triggerName": "http",
                    "triggerConfig": {"methods": ["GET"]},
                    "httpTrigger": {
                        "urlInternet": f"https://{name}-abcdefghij.cn-x.fcapp.run",
                        "urlIntranet": f"https://{name}-abcdefghij.cn-x-vpc.fcapp.run",
                    },
                }
            ],
        }
        for name in ("a", "b")
    ]
    router = Router(Account.model_validate({"functions": functions}))
    assert router.route(head("b-abcdefghij.cn-x.fcapp.run")).function.functionName == "b"
    assert not router.route(head("b-abcdefghij.cn-x-vpc.fcapp.run")).public


@given(st.text(max_size=60), st.text(max_size=80))
def test_no_host_or_path_breaks_the_router(host: str, target: str) -> None:
    """Whatever a client sends as host and target, the answer is a route or a refusal."""
    request = RequestHead("GET", "/" + target, ((b"Host", host.encode("utf-8", "replace")),))
    for router in (ONE, TWO):
        with contextlib.suppress(FCError):
            router.route(request)


def test_earlier_requests_do_not_change_the_route() -> None:
    """Earlier requests, with any hosts and paths, do not change the route of a request."""
    router = Router(account("one", "two"))
    targets = {"/": "one", "/2016-08-15/proxy/s/two/x": "two"}
    for host in ("one.localhost", "one.x.fc.aliyuncs.com"):
        for _ in range(2):
            for target, name in targets.items():
                head = RequestHead("GET", target, ((b"Host", host.encode()),))
                if host.endswith("aliyuncs.com") and name == "one":
                    with pytest.raises(FCError):
                        router.route(head)
                else:
                    expected = name if host.endswith("aliyuncs.com") else "one"
                    assert router.route(head).function.functionName == expected
    for number in range(3000):
        head = RequestHead("GET", "/", ((b"Host", b"one.localhost:%d" % number),))
        assert router.route(head).function.functionName == "one"
    with pytest.raises(FCError):
        router.route(RequestHead("GET", "/", ((b"Host", b"one.localhost"), (b"Host", b"two.localhost"))))


@pytest.mark.parametrize("order", [("chat", "chat-vpc"), ("chat-vpc", "chat")])
def test_exact_name_comes_before_the_internal_address(order: tuple[str, str]) -> None:
    """A function with the name of another one's internal address is reached by it, with a trigger or without."""
    both = account(*order)
    route = Router(both).route(head("chat-vpc.localhost"))
    assert (route.function.functionName, route.public) == ("chat-vpc", True)
    bare = [
        function.model_copy(update={"triggers": []}) if function.functionName == "chat-vpc" else function
        for function in both.functions
    ]
    with pytest.raises(FCError) as caught:
        Router(both.model_copy(update={"functions": bare})).route(head("chat-vpc.localhost"))
    assert caught.value.refusal is Refusal.TRIGGER_NOT_FOUND


@pytest.mark.parametrize("host", ["echo.localhost", "echo-vpc.localhost", "other.test"])
def test_function_without_a_trigger_is_named(host: str) -> None:
    """Every address of a function that has no trigger gets the refusal that says so."""
    bare = account("echo").functions[0].model_copy(update={"triggers": []})
    with pytest.raises(FCError) as caught:
        Router(account("echo").model_copy(update={"functions": [bare]})).route(head(host))
    assert caught.value.refusal is Refusal.TRIGGER_NOT_FOUND
