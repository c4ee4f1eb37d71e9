"""Warns about settings that are valid but will cause trouble later, here or in the cloud."""

from __future__ import annotations

from collections.abc import Iterator

from fcemu.errors import Finding
from fcemu.model import NO_LOCAL_EFFECT, Account, CustomDomain, Function, HttpTrigger


def advice(account: Account) -> list[Finding]:
    """The warnings about an account, in the order of its functions and custom domains."""
    found = [finding for function in account.functions for finding in _of_function(function)]
    return found + [finding for domain in account.customDomains for finding in _of_domain(domain)]


def _of_function(function: Function) -> Iterator[Finding]:
    subject = f"function {function.functionName}"
    takes_sockets = any("GET" in trigger.triggerConfig.methods for trigger in function.triggers)
    if not function.triggers:
        yield Finding(
            "it has no HTTP trigger, so its address answers 404 TriggerNotFound; write `triggers: [{triggerName: "
            "http-trigger, triggerType: http, triggerConfig: {methods: [GET, POST], authType: anonymous}}]`",
            subject=subject,
        )
    if "timeout" not in function.model_fields_set:
        yield Finding(
            "`timeout` is not set, so it is 3 seconds: every WebSocket is cut 3 seconds after it was opened (close "
            "code 1006), and a slower response becomes 502; write for example `timeout: 900` (at most 86400)",
            subject=subject,
        )
    if takes_sockets and function.instanceConcurrency == 1:
        yield Finding(
            "`instanceConcurrency` is 1, so each open WebSocket has, and is billed for, an instance of its own, and "
            "clients on different sockets share no memory; write for example `instanceConcurrency: 100`",
            subject=subject,
        )
    defaults = Function.model_fields
    unused = [key for key in NO_LOCAL_EFFECT if getattr(function, key) not in (None, defaults[key].default)]
    if unused:
        yield Finding(
            f"{_listed(unused)} accepted but without effect here; the cloud applies it, so test there what depends on "
            "it",
            subject=subject,
        )
    for trigger in function.triggers:
        yield from _of_trigger(function, trigger)


def _of_trigger(function: Function, trigger: HttpTrigger) -> Iterator[Finding]:
    subject = f"trigger {function.functionName}/{trigger.triggerName}"
    config = trigger.triggerConfig
    if "GET" not in config.methods:
        yield Finding(
            "`methods` lacks GET, but every WebSocket handshake is a GET request: the cloud answers it with 403; write "
            f"`methods: [{', '.join(('GET', *config.methods))}]`",
            subject=subject,
        )
    if config.corsConfig is not None:
        yield _not_emulated(subject, "corsConfig")


def _of_domain(domain: CustomDomain) -> Iterator[Finding]:
    subject = f"custom domain {domain.domainName}"
    if domain.corsConfig is not None:
        yield _not_emulated(subject, "corsConfig")
    for route in domain.routeConfig.routes:
        if route.rewriteConfig is not None:
            yield _not_emulated(f"{subject}, route {route.path}", "rewriteConfig")


def _not_emulated(subject: str, key: str) -> Finding:
    return Finding(
        f"`{key}` is accepted but not emulated yet: the cloud applies it, fcemu does not; remove it, or test in the "
        "cloud what depends on it",
        subject=subject,
    )


def _listed(keys: list[str]) -> str:
    quoted = [f"`{key}`" for key in keys]
    return f"{quoted[0]} is" if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]} are"
