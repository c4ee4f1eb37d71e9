"""Translates an s.yaml of Serverless Devs: its fc3 and fc3-domain resources become an account.

Plain data in, plain data out; the models validate the result afterwards. The key paths of the result differ from those
of the file, so a `Translation` records where each part was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fcemu.configuration.translation import ACCOUNT_KEYS, Translation
from fcemu.errors import Finding, KeyPath
from fcemu.model import NO_LOCAL_EFFECT, Account

_IGNORED_TOP_LEVEL = ("edition", "name", "access", "vars", "resources", "actions", "flow", "template")

# Keys of the fc3 component that affect neither requests nor the server process.
_IGNORED_PROPS = (
    "annotations", "customContainerConfig", "customDNS", "endpoint", "invocationRestriction", "resourceGroupId",
    "supplement", "tracingConfig",
)  # fmt: skip
_IGNORED_TRIGGER_KEYS = ("invocationRole", "sourceArn")
_IGNORED_DOMAIN_PROPS = ("endpoint", "region")

_AUTO = "with `auto` the cloud generates a domain name; here, use the function's local address"

_EXPRESSION = re.compile(r"""\$\{((?:'[^']*'|"[^"]*"|[^'"}])*)\}""")
_CALL = re.compile(
    r"""(?P<name>env|config)\(\s*(?P<argument>'[^']*'|"[^"]*")\s*"""
    r"""(?:,\s*(?P<default>'[^']*'|"[^"]*"|[\w.-]+)\s*)?\)"""
)
_REFERENCE = re.compile(r"""(?:vars|resources|this)(?:\.[\w-]+|\[\d+\]|\['[^']*'\]|\["[^"]*"\])+""")
_SEGMENT = re.compile(r"""[\w-]+|'[^']*'|"[^"]*["]""")


class _Unresolved(Exception):
    """An expression cannot be evaluated here; the message says why."""


def translate(document: Mapping[str, Any], environment: Mapping[str, str]) -> Translation:
    """The account that an s.yaml describes.

    Args:
        document: the file's content; it has the key `resources`.
        environment: the variables that `${env('NAME')}` reads.

    Returns:
        The data of the account and the findings. This function never raises.
    """
    return _Translator(document, environment).result


class _Translator:
    """Translates one s.yaml when constructed; `result` is the translation."""

    def __init__(self, document: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._functions: list[dict[str, Any]] = []
        self._domains: list[Any] = []
        self.result = Translation({}, {(): ()})
        self._top_level()
        resources = document.get("resources")
        if not isinstance(resources, dict):
            self._mistake(("resources",), "expected a mapping of resource names, each with `component` and `props`")
            resources = {}
        for name, resource in resources.items():
            self._resource(name, resource)
        if not self._functions and not self.result.mistakes:
            self._mistake(("resources",), "expected at least one web function; write a resource with `component: fc3`")
        self.result.account["functions"] = self._functions
        if self._domains and "customDomains" not in self.result.account:
            self.result.account["customDomains"] = self._domains

    def _top_level(self) -> None:
        for key, value in self._document.items():
            if key in ACCOUNT_KEYS:
                value = self._expanded(value, (key,))
                if key == "customDomains" and isinstance(value, list):
                    self._domains.extend(value)
                else:
                    self.result.account[key] = value
            elif key == "extend":
                self._mistake((key,), "fcemu does not follow `extend`; pass it the merged file")
            elif key not in _IGNORED_TOP_LEVEL:
                self._ignore((key,), "fcemu does not read this key")

    def _resource(self, name: str, resource: object) -> None:
        path = ("resources", name)
        if not isinstance(resource, dict):
            self._mistake(path, "expected a mapping with `component` and `props`")
            return
        component = resource.get("component")
        if not isinstance(component, str):
            self._mistake((*path, "component"), "expected the name of a component; write `component: fc3`")
            return
        # `devsapp/fc3@0.0.30` also is the component fc3.
        kind = component.rpartition("/")[2].partition("@")[0]
        if kind == "fc":
            self._mistake(
                (*path, "component"),
                "`fc` is the component of Function Compute 2.0; use `component: fc3` and its props",
            )
        elif kind not in ("fc3", "fc3-domain"):
            self._ignore(path, f"component `{component}` has no HTTP trigger; fcemu reads only fc3 and fc3-domain")
        elif "extend" in resource:
            self._mistake((*path, "extend"), "fcemu does not apply templates; use a YAML merge: `<<: *base`")
        elif not isinstance(props := resource.get("props"), dict):
            self._mistake((*path, "props"), "expected a mapping: the props of the component")
        elif kind == "fc3":
            self._function(props, (*path, "props"), name)
        else:
            self._domain_resource(props, (*path, "props"), name)

    def _function(self, props: dict[str, Any], path: KeyPath, resource: str) -> None:
        if not _is_served(props):
            text = f"runtime {props.get('runtime')} without an HTTP trigger cannot be called over HTTP"
            self._ignore((*path, "runtime"), text)
            return
        function: dict[str, Any] = {}
        for key, value in props.items():
            if key in _IGNORED_PROPS:
                self._ignore((*path, key), "has no effect on requests here")
            elif key in NO_LOCAL_EFFECT:
                # The key has no effect here, so an expression that only the cloud can evaluate is no mistake.
                before = len(self.result.mistakes)
                value = self._expanded(value, (*path, key), resource)
                if len(self.result.mistakes) == before:
                    function[key] = value
                else:
                    del self.result.mistakes[before:]
                    self._ignore(
                        (*path, key), "its expression cannot be evaluated here, and the key has no effect here"
                    )
            elif key != "customDomain":
                function[key] = self._expanded(value, (*path, key), resource)
        self._trim_triggers(function, path)
        self.result.origins["functions", len(self._functions)] = path
        self._functions.append(function)
        if "customDomain" in props:
            self._domain_prop(props["customDomain"], path, resource, function.get("functionName"))

    def _trim_triggers(self, function: dict[str, Any], path: KeyPath) -> None:
        triggers = function.get("triggers")
        for trigger in triggers if isinstance(triggers, list) else []:
            for key in _IGNORED_TRIGGER_KEYS if isinstance(trigger, dict) else ():
                trigger.pop(key, None)

    def _domain_prop(self, written: object, path: KeyPath, resource: str, function_name: object) -> None:
        """A function's own `customDomain`: one route that leads to this function."""
        where = (*path, "customDomain")
        domain = self._expanded(written, where, resource)
        if not isinstance(domain, dict):
            self._mistake(
                where, "expected a mapping: `{domainName: ws.example.com, protocol: HTTP, route: {path: /*}}`"
            )
            return
        if str(domain.get("domainName")).lower() == "auto":
            self._ignore((*where, "domainName"), _AUTO)
            return
        route = domain.pop("route", None)
        if route is not None:
            if isinstance(route, dict):
                route = {**route, "functionName": function_name}
            self._add_domain({**domain, "routeConfig": {"routes": [route]}}, where, (*where, "route"), path)
        else:
            self._add_domain(domain, where, (*where, "route"), path)

    def _add_domain(self, domain: dict[str, Any], where: KeyPath, route: KeyPath, props: KeyPath) -> None:
        """Add a domain. Several functions may name the same one; their routes are merged."""
        index, place = len(self._domains), 0
        for other, existing in enumerate(self._domains):
            if _same_domain(existing, domain):
                index, place = other, len(existing["routeConfig"]["routes"])
                existing["routeConfig"]["routes"].append(domain["routeConfig"]["routes"][0])
                break
        else:
            self._domains.append(domain)
            self.result.origins["customDomains", index] = where
            self.result.origins["customDomains", index, "routeConfig"] = route
        new = ("customDomains", index, "routeConfig", "routes", place)
        self.result.origins[new] = route
        self.result.origins[*new, "functionName"] = (*props, "functionName")

    def _domain_resource(self, props: dict[str, Any], path: KeyPath, resource: str) -> None:
        """A resource of the component fc3-domain, whose keys are those of the API."""
        kept = {key: value for key, value in props.items() if key not in _IGNORED_DOMAIN_PROPS}
        domain = {key: self._expanded(value, (*path, key), resource) for key, value in kept.items()}
        if str(domain.get("domainName")).lower() == "auto":
            self._ignore((*path, "domainName"), _AUTO)
            return
        self.result.origins["customDomains", len(self._domains)] = path
        self._domains.append(domain)

    def _expanded(self, value: Any, path: KeyPath, resource: str = "") -> Any:
        """The value with its expressions evaluated; one that cannot be evaluated stays, and is a mistake at `path`."""
        if isinstance(value, dict):
            return {key: self._expanded(inner, (*path, key), resource) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._expanded(inner, (*path, index), resource) for index, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            value = self._text(value, resource, ())
        except _Unresolved as unresolved:
            self._mistake(path, str(unresolved))
            return value
        # Variables of the environment are strings; environmentVariables takes strings, other keys may not.
        return _typed(value, as_text="environmentVariables" in path)

    def _text(self, text: str, resource: str, pending: tuple[str, ...]) -> Any:
        """A string with its expressions evaluated; if it is a single expression, the value of that."""
        if whole := _EXPRESSION.fullmatch(text):
            return self._evaluate(whole[1].strip(), resource, pending)
        return _EXPRESSION.sub(lambda match: _as_text(self._evaluate(match[1].strip(), resource, pending)), text)

    def _evaluate(self, expression: str, resource: str, pending: tuple[str, ...]) -> Any:
        shown = f"`${{{expression}}}`"
        if expression in pending:
            raise _Unresolved(f"the expression {shown} refers to itself")
        if call := _CALL.fullmatch(expression):
            return self._call(call, shown)
        if not _REFERENCE.fullmatch(expression):
            raise _Unresolved(
                f"the expression {shown} is not supported; use ${{vars.x}}, ${{env('NAME')}}, "
                "${resources.NAME.props.key} or ${this.props.key}, or write the value itself"
            )
        keys = [_unquoted(segment) for segment in _SEGMENT.findall(expression)]
        if keys[0] != "vars" and "output" in keys[1:3]:
            raise _Unresolved(f"the expression {shown} has a value only after a deployment; write the value itself")
        # `this` is the resource that contains the expression, even if another resource refers to it.
        path = ["resources", resource, *keys[1:]] if keys[0] == "this" else keys
        found: Any = self._document
        for key in path:
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise _Unresolved(f"the expression {shown} cannot be evaluated: this file has no `{'.'.join(path)}`")
        owner = path[1] if path[0] == "resources" and len(path) > 1 else resource
        return self._deep(found, owner, (*pending, expression))

    def _deep(self, value: Any, resource: str, pending: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self._deep(inner, resource, pending) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._deep(inner, resource, pending) for inner in value]
        return self._text(value, resource, pending) if isinstance(value, str) else value

    def _call(self, call: re.Match[str], shown: str) -> str:
        argument, default = _unquoted(call["argument"]), call["default"]
        if call["name"] == "config":
            if argument == "AccountID":
                return str(self._document.get("accountId", Account.model_fields["accountId"].default))
            raise _Unresolved(
                f"the expression {shown} reads stored credentials; fcemu supports only ${{config('AccountID')}}"
            )
        value = self._environment.get(argument)
        if value is None and default is None:
            raise _Unresolved(
                f"the environment variable {argument} is not set; set it, or write a default: "
                f"${{env('{argument}', '…')}}"
            )
        return _FromEnvironment(value if value is not None else _unquoted(default))

    def _mistake(self, path: KeyPath, text: str) -> None:
        self.result.mistakes.append(Finding(text, path))

    def _ignore(self, path: KeyPath, text: str) -> None:
        self.result.ignored.append(Finding(text, path))


class _FromEnvironment(str):
    """A string from the environment; it may stand for a number or a boolean."""


def _typed(value: Any, as_text: bool) -> Any:
    """The value with each string from the environment converted to the number or boolean in it."""
    if isinstance(value, dict):
        return {key: _typed(inner, as_text) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner, as_text) for inner in value]
    if not isinstance(value, _FromEnvironment):
        return value
    if not as_text and value in ("true", "false"):
        return value == "true"
    if not as_text and re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value):
        return int(value)
    if not as_text and re.fullmatch(r"-?[0-9]{1,17}\.[0-9]{1,17}", value):
        return float(value)
    return str(value)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] in "'\"" else text


def _as_text(value: Any) -> str:
    """A value inside a longer string, as JavaScript would print it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise _Unresolved("an expression inside a longer string must be a string or a number, not a mapping or a list")
    return "" if value is None else str(value)


def _is_served(props: dict[str, Any]) -> bool:
    """Whether the function is called over HTTP, or would be if it had a trigger: a custom runtime is a server."""
    runtime, triggers = props.get("runtime"), props.get("triggers")
    if not isinstance(runtime, str) or "${" in runtime or re.fullmatch(r"custom(\..*)?", runtime):
        return True
    if "customDomain" in props or not isinstance(triggers, list | None):
        return True
    return any(not isinstance(trigger, dict) or trigger.get("triggerType") == "http" for trigger in triggers or [])


def _same_domain(one: Any, other: dict[str, Any]) -> bool:
    """Whether two domains differ only in their routes; both must have routes."""
    try:
        routes = isinstance(one["routeConfig"]["routes"], list) and "routeConfig" in other
    except (KeyError, TypeError):
        return False
    return routes and {**one, "routeConfig": None} == {**other, "routeConfig": None}
