"""Validates the data of an account, and explains each mistake: what was expected, what was found, what to write."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fcemu.configuration.translation import Translation
from fcemu.errors import Finding, KeyPath
from fcemu.model import AUTH_CONFIGS, Account, Function, Resource


def validate(translation: Translation) -> tuple[Account | None, list[Finding]]:
    """Validate the data of an account.

    Returns:
        The account and no findings; or None and a finding for each mistake.
    """
    try:
        return Account.model_validate(translation.account), []
    except ValidationError as error:
        failures = list(_failures(error, translation.account))
    # Pydantic applies rules between values only if each value is valid: validate again without the invalid ones.
    rest = translation.account
    for failure in reversed(failures):  # from the end, because removing an item moves those after it
        rest = _without(rest, failure.path)
    try:
        Account.model_validate(rest)
    except ValidationError as error:
        known = {failure.path for failure in failures}
        again = (failure for failure in _failures(error, rest) if failure.kind == "value_error")
        failures += [failure for failure in again if failure.path not in known]
    findings = []
    for failure in failures:
        source = translation.origin(failure.path)
        findings.append(Finding(_explain(failure, source), source))
    return None, findings


@dataclass(frozen=True)
class _Failure:
    """A value that a model does not accept: its path in the account's data, the kind of failure, and the value."""

    path: KeyPath
    kind: str
    value: Any
    context: dict[str, Any]
    text: str
    model: type[BaseModel] | None
    """The model of the mapping that contains the value."""


def _failures(error: ValidationError, data: object) -> Iterator[_Failure]:
    """The values that the models do not accept, one per path even if a value matches none of several types."""
    seen: set[KeyPath] = set()
    for details in error.errors(include_url=False):
        kind, context, place = details["type"], details.get("ctx", {}), details["loc"]
        for finding in context.get("findings", [Finding(details["msg"].removeprefix("Value error, "))]):
            path = _existing((*place, *finding.path), data, missing=kind == "missing")
            if path not in seen:
                seen.add(path)
                yield _Failure(path, kind, details["input"], context, finding.text, _model_at(path[:-1], data))


def _existing(place: Iterable[str | int], data: Any, missing: bool) -> KeyPath:
    """The path without the names of types that pydantic inserts; all other parts are keys of the data."""
    path: list[str | int] = []
    for part in place:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            data = data[part]
        elif not missing:
            continue
        path.append(part)
    return tuple(path)


def _without(data: Any, path: KeyPath) -> Any:
    """A copy without the value at `path`. Items of a list of mappings stay, so that indexes do not change."""
    key, *rest = path or (None,)
    if isinstance(data, dict) and key in data:
        if rest:
            return {**data, key: _without(data[key], tuple(rest))}
        return {name: value for name, value in data.items() if name != key}
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        if rest:
            return [*data[:key], _without(data[key], tuple(rest)), *data[key + 1 :]]
        if not any(isinstance(item, dict) for item in data):
            return data[:key] + data[key + 1 :]
    return data


_EXAMPLES = {
    "BearerFormat": "BearerFormat: opaque",
    "accessKeyId": "accessKeyId: LTAI-local",
    "accessKeySecret": "accessKeySecret: any-string",
    "domainName": "domainName: ws.example.com",
    "enable": "enable: true",
    "functionName": "functionName: my-function",
    "functions": "functions: [{functionName: my-function}]",
    "httpGetUrl": "httpGetUrl: /healthz",
    "jwks": "jwks: {keys: [{kty: RSA, kid: …, n: …, e: AQAB}]}",
    "keys": "keys: [{kty: RSA, kid: …, n: …, e: AQAB}]",
    "methods": "methods: [GET, POST]",
    "opaqueTokenConfig": "opaqueTokenConfig: {tokens: [{enable: true, tokenName: …, tokenData: …}]}",
    "path": "path: /*",
    "reservedConcurrency": "reservedConcurrency: 10",
    "route": "route: {path: /*}",
    "routeConfig": "routeConfig: {routes: [{path: /*, functionName: my-function}]}",
    "routes": "routes: [{path: /*, functionName: my-function}]",
    "tokenData": "tokenData: 32 to 128 characters",
    "tokens": "tokens: [{enable: true, tokenName: …, tokenData: …}]",
    "triggerConfig": "triggerConfig: {methods: [GET, POST], authType: anonymous}",
    "triggerName": "triggerName: http-trigger",
    "users": "users: [{userName: …, password: …}]",
}

_FORMS = {
    "functionName": "a name of letters, digits, `_` and `-` that does not start with a digit or `-`",
    "triggerName": "a name of letters, digits, `_` and `-` that does not start with a digit or `-`",
    "httpGetUrl": "a path that starts with `/`",
    "path": "a path that starts with `/`",
    "userName": "a string of 12 to 128 characters without `:`",
    "listen": "a host and a port, such as `127.0.0.1:8080`",
}

_SECRETS = {name for kind in Resource.__subclasses__() for name, field in kind.model_fields.items() if not field.repr}


def _explain(failure: _Failure, source: KeyPath) -> str:
    """What was expected, what was found, and what to write instead."""
    key = next((part for part in reversed(source) if isinstance(part, str)), "")
    kind, value, context = failure.kind, failure.value, failure.context
    found = f"found {_type_name(value) if key in _SECRETS else shown(value)}"
    if value is None and kind.endswith("_type"):
        return f"this key has no value; write{_example(key) or ' one'}, or remove the key"
    match kind:
        case "missing":
            return f"this key is missing; write{_example(key) or f' `{key}: …`'}"
        case "extra_forbidden":
            return _unknown_key(failure, source)
        case "int_type" | "int_from_float":
            return f"expected a whole number{_bounds(failure)}, {found}{_suggestion(_number(value, int), value)}"
        case "float_type":
            return f"expected a number{_bounds(failure)}, {found}{_suggestion(_number(value, float), value)}"
        case "bool_type":
            return f"expected true or false, {found}{_suggestion(_boolean(value), value)}"
        case "string_pattern_mismatch" | "string_type" if key in _FORMS:
            slash = f"/{value}" if key in ("httpGetUrl", "path") and isinstance(value, str) else ""
            return f"expected {_FORMS[key]}, {found}{_suggestion(slash)}"
        case "string_type":
            if not isinstance(value, (bool, int, float)):
                return f"expected a string, {found}"
            quoted = "" if key in _SECRETS else f': `"{json.dumps(value)}"`'
            return f"expected a string, {found}; put it in quotes{quoted}"
        case "literal_error":
            return _one_of(str(context.get("expected", "")), value, found)
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"expected a number{_bounds(failure)}, {found}"
        case "multiple_of":
            step = context["multiple_of"]
            nearest = max(step, round(value / step) * step)
            return f"expected a multiple of {step}{_bounds(failure)}, {found}; write `{nearest}`"
        case "string_too_long":
            return f"expected at most {context['max_length']} characters, found {len(value)}"
        case "too_short":
            return f"expected at least one item{_suggestion(_EXAMPLES.get(key, ''))}"
        case "too_long":
            return f"expected at most {context['max_length']} items, found {len(value)}"
        case "list_type":
            scalar = isinstance(value, (str, int, float))
            return f"expected a list, {found}{_suggestion(f'{key}: [{value}]' if scalar else '')}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"expected a mapping (`key: value` lines), {found}"
    return failure.text


def _example(key: str) -> str:
    return f" `{_EXAMPLES[key]}`" if key in _EXAMPLES else ""


def _suggestion(text: str, value: object = None) -> str:
    """What to write instead of `value`. If `value` is a string but should not be, remove its quotes."""
    return f"; write `{text}`{' without quotes' if isinstance(value, str) else ''}" if text else ""


def _type_name(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "a mapping"


def shown(value: object) -> str:
    """A value as it appears in a message: short, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return f"the string {value!r}" if len(value) <= 60 else f"the string {value[:57] + '...'!r}"
    return _type_name(value)


def _number(value: object, kind: type[int] | type[float]) -> str:
    """The number that was probably meant; empty if that is not clear."""
    try:
        if isinstance(value, str) and math.isfinite(kind(value)):
            return value.strip()
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
    except (ValueError, OverflowError):
        pass
    return ""


def _boolean(value: object) -> str:
    """The boolean that was probably meant; empty if that is not clear."""
    match str(value).lower():
        case "true" | "yes" | "on" | "1":
            return "true"
        case "false" | "no" | "off" | "0":
            return "false"
    return ""


def _bounds(failure: _Failure) -> str:
    """The allowed range of a number, from the model's schema: ` from 1 to 86400`."""
    model = failure.model
    schema = model.model_json_schema()["properties"].get(failure.path[-1], {}) if model else {}
    limits = {name: value for part in (schema, *schema.get("anyOf", ())) for name, value in part.items()}
    low, above, high = (limits.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    parts = [
        f"{word} {limit}"
        for word, limit in (("of at least", low), ("above", above), ("of at most", high))
        if limit is not None
    ]
    return f" {' and '.join(parts)}" if parts else ""


def _one_of(expected: str, value: object, found: str) -> str:
    """The allowed values, as pydantic lists them, and the one nearest to what was found."""
    allowed = [text or number for text, number in re.findall(r"'([^']*)'|(\d+)", expected)]
    near = _nearest(str(value), allowed)
    number = isinstance(value, str) and near.isdecimal()
    question = f"; write `{near}` without quotes" if number else f"; did you mean `{near}`?" if near else ""
    return f"expected {' or '.join(filter(None, (', '.join(allowed[:-1]), allowed[-1])))}, {found}{question}"


def _unknown_key(failure: _Failure, source: KeyPath) -> str:
    """Suggest a key: one of another level with the same name, or a similar one of this level."""
    key, model = str(failure.path[-1]), failure.model
    models = [model] if model else []
    if len(source) == 1 and model is Function:
        models.append(Account)  # the keys of one function are at the top level, next to the account's
    names = [name for model in models for name in model.model_fields]
    here = any(key.lower() == name.lower() for name in names)
    below = "" if here else next(filter(None, (_deeper(model, key) for model in models)), "")
    near = below or _nearest(key, names)
    if near:
        return f"unknown key; did you mean `{near}`?"
    return f"unknown key; the keys here are {', '.join(names)}" if len(names) <= 12 else "unknown key; remove it"


def _nearest(text: str, candidates: Iterable[str]) -> str:
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    return next((by_lower[near] for near in difflib.get_close_matches(text.lower(), by_lower, n=1)), "")


def _deeper(model: type[BaseModel], key: str) -> str:
    """The path of a key of this name below the model: `triggers[0].triggerConfig.methods`; empty if none."""
    level = [("", model)]
    while level:
        below = []
        for prefix, outer in level:
            for name, field in outer.model_fields.items():
                if inner := _model_in(field.annotation):
                    place = f"{prefix}{name}{'[0]' if get_origin(field.annotation) is list else ''}."
                    below.append((place, inner))
                    for candidate in inner.model_fields:
                        if candidate.lower() == key.lower():
                            return place + candidate
        level = below
    return ""


def _model_at(path: KeyPath, data: Any) -> type[BaseModel] | None:
    """The model of the mapping at `path`; None if it has none."""
    model: type[BaseModel] | None = Account
    for part in path:
        if isinstance(part, str):
            field = model.model_fields.get(part) if model else None
            model = _model_in(field.annotation) if field else None
            if field and not model and part in ("authConfig", "authInfo"):
                model = AUTH_CONFIGS.get(str(data.get("authType"))) if isinstance(data, dict) else None
            data = data.get(part) if isinstance(data, dict) else None
        else:
            data = data[part] if isinstance(data, list) else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
