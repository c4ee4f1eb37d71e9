"""What a kit serves: an account from a file or a mapping, with some keys overridden; and fault rules."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fcemu.configuration.load import load
from fcemu.configuration.overrides import with_overrides
from fcemu.errors import ConfigError, Finding
from fcemu.model import Account, FaultRule

if TYPE_CHECKING:
    from fcemu.clients.tokens import KeyPair


def account_for(
    configuration: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    function: str | None,
    folder: Path,
    where: tuple[str, int],
) -> Account:
    """The account for a kit: `overrides.with_overrides`, for the path of a file as well.

    Wherever a JWT is accepted, tokens of `token_key` are accepted, too.

    Args:
        folder: the folder that relative paths are relative to.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    base = configuration if isinstance(configuration, Mapping) else load(folder / configuration).account
    jwks = _token_jwks
    account = with_overrides(base, overrides, function=function, folder=folder.absolute(), where=where, jwks=jwks)
    missing = [each.code for each in account.functions if not os.path.isdir(each.code)]
    if missing:
        raise ConfigError([Finding(f"the folder {code} does not exist", ("code",), *where) for code in missing])
    return account


@functools.cache
def token_key() -> KeyPair:
    """The key pair that signs the tokens of all kits; generated on first use, because its libraries import slowly."""
    from fcemu.clients.tokens import KeyPair

    return KeyPair.generate()


def _token_jwks() -> dict[str, Any]:
    return token_key().jwks()


def fault_rule(keys: Mapping[str, Any]) -> FaultRule:
    """The fault rule with these keys.

    Raises:
        ConfigError: the keys are not those of a valid rule.
    """
    try:
        return FaultRule.model_validate(dict(keys))
    except ValidationError as error:
        text = "; ".join(details["msg"].removeprefix("Value error, ") for details in error.errors(include_url=False))
        raise ConfigError([Finding(text, file="fc.fault(…)", line=1)]) from None
