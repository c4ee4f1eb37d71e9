"""Overrides keys of a configuration, for tests: an account or a mapping in; an `Account` out."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcemu.configuration.translation import ACCOUNT_KEYS, Translation
from fcemu.configuration.validation import validate
from fcemu.errors import ConfigError, Finding, KeyPath
from fcemu.model import Account

Data = dict[str, Any]


def with_overrides(
    configuration: Account | Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    function: str | None = None,
    folder: Path,
    where: tuple[str, int],
    jwks: Callable[[], Data],
) -> Account:
    """The account that a configuration describes, with some keys overridden.

    Args:
        configuration: an account, or a mapping with the content of a file: one function's keys, or `functions:`.
        overrides: keys of the function; keys of the account, such as `fcemu`; and `triggerConfig`, which is that of
            the function's first trigger. A mapping is merged, None removes the key, any other value replaces it.
        function: the function whose keys are overridden; may be omitted if there is only one.
        folder: the folder that a relative `code` is relative to.
        where: file and line for the error message.
        jwks: returns a JWK Set whose keys are added wherever a JWT is accepted; called only if a JWT is.

    Raises:
        ConfigError: the result is not valid; the error has every mistake.
    """
    if isinstance(configuration, Account):
        data = configuration.model_dump(exclude_unset=True)
    else:
        data = _account_data(dict(configuration))
    try:
        index = _index_of(function, data["functions"], needed=not overrides.keys() <= set(ACCOUNT_KEYS))
    except ValueError as error:
        raise ConfigError([Finding(str(error), (), *where)]) from None
    data = copy.deepcopy(_overridden(data, overrides, index))
    for each in _mappings(data["functions"]):
        if isinstance(code := each.get("code", "."), str):
            each["code"] = str(folder / code)
    _add_key(data, jwks)
    # Report mistakes in the overridden function as if its keys were at the top level.
    origins: dict[KeyPath, KeyPath] = {(): ()} if index is None else {(): (), ("functions", index): ()}
    account, findings = validate(Translation(data, origins))
    if account is None:
        file, line = where
        raise ConfigError([replace(finding, file=file, line=line) for finding in findings])
    return account


def _account_data(data: Data) -> Data:
    if "functions" in data:
        return data
    shared = {key: data.pop(key) for key in ACCOUNT_KEYS if key in data}
    return {**shared, "functions": [data]}


def _index_of(function: str | None, functions: object, needed: bool) -> int | None:
    """The index of the function; None if there is no single one and none is needed."""
    names = [str(each.get("functionName")) for each in _mappings(functions)]
    if function is None and len(names) != 1:
        if needed and names:
            raise ValueError(
                f"there are several functions; say which one these keys belong to: function= one of {', '.join(names)}"
            )
        return None
    if function is not None and function not in names:
        raise ValueError(f"there is no function {function!r}; configured: {', '.join(names)}")
    return names.index(function) if function is not None else 0


def _overridden(data: Data, overrides: Mapping[str, Any], index: int | None) -> Data:
    merged = _merged(data, {key: value for key, value in overrides.items() if key in ACCOUNT_KEYS})
    if index is None:
        return merged
    props = {key: value for key, value in overrides.items() if key not in ACCOUNT_KEYS}
    trigger = props.pop("triggerConfig", None)
    function = _merged(merged["functions"][index], props)
    if trigger is not None:
        triggers = function.get("triggers") or [{"triggerName": "http", "triggerConfig": {}}]
        function["triggers"] = [_merged(triggers[0], {"triggerConfig": trigger}), *triggers[1:]]
    merged["functions"] = [*merged["functions"][:index], function, *merged["functions"][index + 1 :]]
    return merged


def _merged(base: Data, changes: Mapping[str, Any]) -> Data:
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


def _add_key(data: Data, jwks: Callable[[], Data]) -> None:
    """Accept the key wherever a JWT is accepted. Malformed values are left for the models to report."""
    for config, name in _authentications(data):
        if config.get("authType") != "jwt":
            continue
        auth = {} if config.get(name) is None else config[name]
        if isinstance(auth, str):
            try:
                auth = json.loads(auth)
            except ValueError:
                continue
        known = auth.get("jwks", {"keys": []}) if isinstance(auth, dict) else None
        if isinstance(known, dict) and isinstance(known.get("keys"), list):
            config[name] = {**auth, "jwks": {**known, "keys": [*known["keys"], *jwks()["keys"]]}}


def _authentications(data: Data) -> Iterator[tuple[Data, str]]:
    """Each mapping with an `authType`, and the name of the key that configures it."""
    for function in _mappings(data.get("functions")):
        for trigger in _mappings(function.get("triggers")):
            if isinstance(config := trigger.get("triggerConfig"), dict):
                yield config, "authConfig"
    for domain in _mappings(data.get("customDomains")):
        if isinstance(config := domain.get("authConfig"), dict):
            yield config, "authInfo"


def _mappings(items: object) -> list[Data]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
