"""`fcemu sign` signs requests; `fcemu token` issues tokens. Triggers with authentication accept them."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.cli.options import load_configuration
from fcemu.errors import FcemuError

if TYPE_CHECKING:
    from fcemu.clients.tokens import KeyPair
    from fcemu.model import AccessKey
    from fcemu.trigger.signature import Scheme


@click.command()
@click.argument("method")
@click.argument("url")
@click.option("--config", type=click.Path(path_type=Path), help="Sign with the first key in this file's `accessKeys`.")
@click.option(
    "--access-key-id", help="Key to sign with: one of the file's keys, or any key together with --access-key-secret."
)
@click.option(
    "--access-key-secret",
    envvar="FCEMU_ACCESS_KEY_SECRET",
    help="Secret of the key. Prefer the variable FCEMU_ACCESS_KEY_SECRET: other users can see command lines.",
)
@click.option(
    "--scheme",
    type=click.Choice(["acs3", "fc", "presigned", "acs"]),
    default="acs3",
    show_default=True,
    help="acs3: FC 3.0; fc: FC 2.0; presigned: FC 2.0, in the URL's query; acs: openapi-util (ROA).",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="Header to send as well, signed if the scheme signs headers; may be repeated.",
)
@click.option(
    "--expires",
    type=click.IntRange(1),
    default=900,
    show_default=True,
    help="Seconds for which a pre-signed URL is valid.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["headers", "curl", "url"]),
    help="What to print; the URL by default if it is pre-signed.",
)
def sign(
    method: str,
    url: str,
    config: Path | None,
    access_key_id: str | None,
    access_key_secret: str | None,
    scheme: Scheme,
    headers: tuple[str, ...],
    expires: int,
    form: str | None,
) -> None:
    """Sign a request for a trigger with `authType: function`.

    Prints the headers to send, a curl command, or the URL. A WebSocket of a browser cannot send headers, so it needs
    a pre-signed URL. Without --config, the key pair comes from ALIBABA_CLOUD_ACCESS_KEY_ID,
    ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.
    """
    import time

    from fcemu.trigger import signature

    key = _signing_key(config, access_key_id, access_key_secret)
    sent = dict(_name_and_value(header, ":") for header in headers)
    signed = signature.sign(method, url, key, time.time(), scheme=scheme, headers=sent, expires=expires)
    lines = [f"{name}: {value}" for name, value in (*sent.items(), *signed.headers)]
    match form or ("url" if scheme == "presigned" else "headers"):
        case "headers":
            click.echo("\n".join(lines))
        case "curl":
            # curl omits a header without a value, unless it ends in a semicolon.
            options = (f"-H {shlex.quote(line if line[-1] != ' ' else line[:-2] + ';')}" for line in lines)
            address = signed.url.replace("ws", "http", 1) if signed.url.startswith("ws") else signed.url
            click.echo(" ".join(["curl", "-i", "-X", shlex.quote(method), *options, shlex.quote(address)]))
        case _:
            click.echo(signed.url)


@click.command()
@click.option(
    "--alg",
    "algorithm",
    default="ES256",
    show_default=True,
    help="Algorithm: RS, PS, ES or HS with 256, 384 or 512, e.g. RS256; or EdDSA.",
)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="Claim to include; VALUE is JSON or plain text; may be repeated.",
)
@click.option(
    "--expires",
    type=int,
    default=3600,
    show_default=True,
    help="Seconds until the token expires; negative for an expired token.",
)
@click.option(
    "--key", "file", type=click.Path(path_type=Path), help="File with the private key; created if it does not exist."
)
@click.option("--jwks", is_flag=True, help="Print the JWKS for `authConfig.jwks` instead of a token.")
def token(algorithm: str, claims: tuple[str, ...], expires: int, file: Path | None, jwks: bool) -> None:
    """Issue a token for a trigger with `authType: jwt`.

    The token is signed with a local key pair, which is created once and then reused. Before the first use, paste the
    output of `fcemu token --jwks` into the trigger's authConfig.
    """
    import time

    pair = _key_pair(algorithm, file)
    if jwks:
        click.echo(json.dumps(pair.jwks(), indent=2))
        return
    click.echo(pair.token(dict(map(_claim, claims)), time.time(), expires))


def _signing_key(config: Path | None, access_key_id: str | None, secret: str | None) -> AccessKey:
    from fcemu.configuration import access_keys
    from fcemu.model import AccessKey

    if access_key_id and secret:
        return AccessKey(accessKeyId=access_key_id, accessKeySecret=secret)
    known = list(load_configuration(config).account.accessKeys) if config is not None else []
    if not known and (key := access_keys.from_environment(os.environ)) is not None:
        known = [key]
    for key in known:
        if access_key_id in (None, key.accessKeyId):
            return key
    raise FcemuError(
        "there is no key pair to sign with: pass --config with a file that has `accessKeys:`, pass --access-key-id and "
        "--access-key-secret, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"
    )


def _key_pair(algorithm: str, file: Path | None) -> KeyPair:
    from fcemu.clients.tokens import KeyPair
    from fcemu.state_folder import state_folder

    file = file or state_folder(os.environ) / f"jwt-{algorithm}.json"
    try:
        if file.exists():
            pair = KeyPair.from_json(file.read_text())
            if pair.algorithm != algorithm:
                raise FcemuError(f"{file} holds a key for {pair.algorithm}; pass --alg {pair.algorithm}")
            return pair
        pair = KeyPair.generate(algorithm)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(pair.to_json() + "\n")
    except (ValueError, OSError) as error:
        raise FcemuError(f"{file}: {error}" if file.exists() else str(error)) from error
    return pair


def _name_and_value(text: str, separator: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name:
        raise click.BadParameter(f"{text!r} is not of the form NAME{separator}VALUE")
    return name.strip(), value.strip()


def _claim(text: str) -> tuple[str, object]:
    name, value = _name_and_value(text, "=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
