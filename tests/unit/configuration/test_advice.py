"""Which warnings a valid configuration gets."""

from __future__ import annotations

from typing import Any

from fcemu.configuration.advice import advice
from fcemu.errors import Finding
from fcemu.model import Account

TRIGGER = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
GOOD = {"functionName": "f", "timeout": 60, "instanceConcurrency": 10, "triggers": [TRIGGER]}


def found(more: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **account: Any) -> list[Finding]:
    """The findings about a good function with changed props, a changed trigger, and more in its account."""
    trigger = {**TRIGGER, "triggerConfig": {"methods": ["GET"], "authType": "anonymous", **(config or {})}}
    function = {**GOOD, "triggers": [trigger], **(more or {})}
    return advice(Account.model_validate({"functions": [function], **account}))


def domain(**more: Any) -> list[dict[str, Any]]:
    """One custom domain with one route."""
    routes = [{"path": "/*", "functionName": "f"}]
    return [{"domainName": "a.com", "routeConfig": {"routes": routes}, **more}]


def test_good_configuration_has_no_findings() -> None:
    """A configuration without problems gets no warning."""
    assert found(customDomains=domain()) == []


def test_trigger_without_get() -> None:
    """A warning about a trigger without GET says that WebSockets get 403, and what to write."""
    (finding,) = found(config={"methods": ["POST", "PUT"]})
    assert finding.subject == "trigger f/http"
    assert "403" in finding.text
    assert "`methods: [GET, POST, PUT]`" in finding.text


def test_unwritten_timeout() -> None:
    """A warning about a timeout that is not set says that sockets are cut after 3 seconds; an explicit 3 gets none."""
    function = {key: value for key, value in GOOD.items() if key != "timeout"}
    (finding,) = advice(Account.model_validate({"functions": [function]}))
    assert finding.subject == "function f"
    assert "3 seconds" in finding.text
    assert "`timeout: 900`" in finding.text
    assert found({"timeout": 3}) == []


def test_single_concurrency_with_sockets() -> None:
    """A warning about concurrency 1 says that each socket gets its own instance."""
    (finding,) = found({"instanceConcurrency": 1})
    assert finding.subject == "function f"
    assert "instance of its own" in finding.text


def test_single_concurrency_without_sockets() -> None:
    """Concurrency 1 without sockets gets no warning."""
    assert [finding.subject for finding in found({"instanceConcurrency": 1}, {"methods": ["POST"]})] == [
        "trigger f/http"
    ]


def test_function_without_trigger() -> None:
    """A warning about a function without a trigger says that its address answers 404."""
    (finding,) = found({"triggers": []})
    assert finding.subject == "function f"
    assert "404 TriggerNotFound" in finding.text


def test_keys_without_effect() -> None:
    """One warning names all keys without a local effect, unless they only repeat the default."""
    (finding,) = found({"role": "acs:ram::1:role/x", "diskSize": 512, "internetAccess": False})
    assert finding.text.startswith("`role` and `internetAccess` are accepted but without effect here")
    (finding,) = found({"diskSize": 10240})
    assert finding.text.startswith("`diskSize` is accepted")


def test_cors_and_rewrite_are_not_emulated() -> None:
    """A warning says that corsConfig and rewriteConfig are accepted but not emulated."""
    (finding,) = found(config={"corsConfig": {"allowOrigins": ["*"]}})
    assert finding.subject == "trigger f/http"
    assert "not emulated yet" in finding.text
    routes = [{"path": "/*", "functionName": "f", "rewriteConfig": {"equalRules": []}}]
    on_domain = found(customDomains=domain(corsConfig={}, routeConfig={"routes": routes}))
    assert [finding.subject for finding in on_domain] == ["custom domain a.com", "custom domain a.com, route /*"]
    assert all("not emulated yet" in finding.text for finding in on_domain)
