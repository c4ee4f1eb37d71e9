"""What can be said on the command line?

`serve`, `exec`, `smoke`, `matrix`; `check`, `schema`; `sign`, `token`, `explain`; `ps`, `prune`.

Heavy modules are imported inside the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from fcemu import __version__
from fcemu.errors import ConfigError, FcemuError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from fcemu.config import Configuration
    from fcemu.matrix import Trial
    from fcemu.model import AccessKey, Account, OnReload
    from fcemu.outcomes import Outcome
    from fcemu.serving import Printer
    from fcemu.tokens import KeyPair
    from fcemu.trigger.signature import Scheme

_FILE = click.argument("file", type=click.Path(path_type=Path), default=Path("trigger.yaml"))
_LAZY = click.option("--lazy", is_flag=True, help="Start instances at the first request, as the cloud does.")
_SCATTER = click.option(
    "--scatter", is_flag=True, help="Send consecutive connections to different instances, on purpose."
)
_LOG_FORMAT = click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
_LOG = click.option(
    "--log", metavar="FILE", help="Write what happens, and what the functions print, there; `-` is stderr."
)
_LOOP = click.option(
    "--loop",
    type=click.Choice(["auto", "uvloop", "asyncio"]),
    default="auto",
    show_default=True,
    help="Event loop; auto takes uvloop where it is installed.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fcemu")
def cli() -> None:
    """Run Function Compute HTTP and WebSocket functions locally, with their trigger enforced."""


def main() -> NoReturn:
    """The console script: set-up errors are printed, not traced; exit code 1, or 2 for a bad configuration."""
    try:
        cli.main(standalone_mode=True)
    except FcemuError as error:
        click.echo(f"fcemu: {error}" if not isinstance(error, ConfigError) else str(error), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


@cli.command()
@_FILE
@click.option("--example", is_flag=True, help="Serve the echo function that comes with fcemu instead of FILE.")
@click.option("--host", help="Address to listen on, instead of that in `fcemu.listen`.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.")
@_LAZY
@_SCATTER
@click.option("--reload", is_flag=True, help="Follow changes of FILE and of the functions' code.")
@click.option(
    "--on-reload",
    type=click.Choice(["drain", "cut", "pin"]),
    help="What becomes of open sockets when new code is ready, instead of `fcemu.onReload`.",
)
@click.option("--debug", is_flag=True, help="Start functions so that a debugger can attach; nothing times out.")
@click.option("--admin", metavar="HOST:PORT", help="Open the control plane there; port 0 takes any free one.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the addresses as JSON once ready.")
@_LOG_FORMAT
@_LOOP
def serve(
    file: Path,
    example: bool,
    host: str | None,
    port: int | None,
    lazy: bool,
    scatter: bool,
    reload: bool,
    on_reload: OnReload | None,
    debug: bool,
    admin: str | None,
    ready_file: Path | None,
    log_format: str,
    loop: str,
) -> None:
    """Serve the functions of FILE (default: trigger.yaml) behind their HTTP triggers.

    Ctrl-C stops: functions get SIGTERM and `fcemu.stopGrace` seconds; a second Ctrl-C ends everything at once.
    """
    if example and reload:
        raise click.UsageError("--reload follows FILE; the example has none of its own")
    from fcemu import serving

    # Made once: what a client was told holds for the whole run, however often the file changes.
    key, was_made = _key_of_run()

    def load() -> Account:
        account = _example_account() if example else _load(file).account
        account = _with_options(account, host=host, port=port, lazy=lazy, scatter=scatter, on_reload=on_reload)
        return _with_key(account, key)

    account = load()
    run = serving.Run(
        config="(example)" if example else str(file.resolve()),
        made=key if was_made and key in account.accessKeys else None,
        ready_file=ready_file,
        log_format=log_format,
        debug=debug,
        admin=admin,
        reload=load if reload else None,
    )
    with _runner(loop) as runner:
        runner.run(serving.serve(account, run))


class _WithCommand(click.Command):
    """Takes what follows `--` as the command line of another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        mark = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = args[mark + 1 :]
        rest = super().parse_args(ctx, args[:mark])
        if not ctx.meta["command"] and not ctx.resilient_parsing:
            raise click.UsageError(f"write the command behind `--`: {ctx.command_path} trigger.yaml -- npm test")
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND [ARGUMENT]..."]


@cli.command("exec", cls=_WithCommand)
@_FILE
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the front; any free one by default.")
@_LAZY
@_SCATTER
@_LOG
@_LOG_FORMAT
@_LOOP
@click.pass_context
def exec_(
    context: click.Context,
    file: Path,
    port: int,
    lazy: bool,
    scatter: bool,
    log: str | None,
    log_format: str,
    loop: str,
) -> None:
    """Serve the functions of FILE (default: trigger.yaml) while COMMAND runs, and exit as it does.

    COMMAND starts when requests will succeed, and finds the addresses in FCEMU_URL and FCEMU_WS_URL; of each function
    in FCEMU_URL_NAME and FCEMU_WS_URL_NAME (upper case, `_` for `-`). Its input and output are untouched; should it
    fail, the end of fcemu's log follows on stderr.
    """
    from fcemu.command import Command
    from fcemu.executing import execute

    account = _with_key(_with_options(_load(file).account, port=port, lazy=lazy, scatter=scatter), _key_of_run()[0])
    with (
        contextlib.closing(Command(context.meta["command"])) as command,  # first: it forks
        _printer(log, log_format) as printer,
        _runner(loop) as runner,
    ):
        code = runner.run(execute(account, command, str(file.resolve()), printer))
    sys.exit(code)


@cli.command()
@_FILE
@click.option("--function", "only", multiple=True, metavar="NAME", help="Check this one; may be repeated.")
@click.option("--path", default="/", show_default=True, help="The path of requests, with a query if need be.")
@click.option("--websocket", is_flag=True, help="Fail where a function does not take WebSockets.")
@click.option(
    "--timeout-scale",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Wait for so much of each timeout in truth, such as 0.01; by default the clock is put forward.",
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write the outcomes there, as JUnit XML.")
@_LOG
@_LOG_FORMAT
@_LOOP
def smoke(
    file: Path,
    only: tuple[str, ...],
    path: str,
    websocket: bool,
    timeout_scale: float,
    junit: Path | None,
    log: str | None,
    log_format: str,
    loop: str,
) -> None:
    """Check what the configuration FILE (default: trigger.yaml) promises: each function starts, answers, stops.

    So are the refusals that its triggers promise, its limits and its timeout. Prints a table; in GitHub Actions also
    annotations and the job's summary. Exit code 0 if nothing failed, 1 if something did, 2 for a bad configuration.
    """
    from fcemu import outcomes, probing
    from fcemu.places import Places

    shown = _from_workspace(file)
    try:
        account = _with_key(_load(file).account, _key_of_run()[0])
    except ConfigError as error:
        if "GITHUB_ACTIONS" in os.environ:
            for problem in error.problems:
                click.echo(outcomes.annotation(shown, problem.line, problem.key or "configuration", problem.text))
        raise
    known = [function.functionName for function in account.functions]
    if unknown := [name for name in only if name not in known]:
        raise click.BadParameter(f"no function {unknown[0]!r}; configured: {', '.join(known)}")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise click.BadParameter(f"{path!r} does not begin with / or is not percent-encoded")
    prepared, identity = probing.prepared(account, file)
    places = Places(file.read_text("utf-8"), os.environ)
    run = probing.Smoke(
        config=str(file.resolve()),
        shown=shown,
        account=prepared,
        identity=identity,
        path=path,
        only=frozenset(only),
        websocket=websocket,
        timeout_scale=timeout_scale,
        line=places.line,
    )
    with _printer(log, log_format) as printer, _runner(loop) as runner:
        found = runner.run(probing.probe(run, printer))
    _tell(found, f"fcemu smoke {shown}", junit)
    sys.exit(1 if outcomes.count(found, "failed") else 0)


@cli.command()
@_FILE
def check(file: Path) -> None:
    """Validate FILE, print what would be served where, and warn about what will hurt in the cloud."""
    from fcemu import report
    from fcemu.checks import findings

    configuration = _load(file)
    account = configuration.account
    port = account.fcemu.listen.rpartition(":")[2]
    click.echo(report.url_map(account, int(port)))
    for note in configuration.ignored:
        click.echo(f"ignored: {note}")
    for finding in findings(account):
        click.echo(f"warning: {finding.subject}: {finding.text}")
    click.echo(f"{file}: OK")


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from fcemu.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@cli.command()
@click.argument("method")
@click.argument("url")
@click.option("--config", type=click.Path(path_type=Path), help="Sign with the first of this file's `accessKeys`.")
@click.option("--access-key-id", help="Sign with this key of the file, or with this one and --access-key-secret.")
@click.option("--access-key-secret", envvar="FCEMU_ACCESS_KEY_SECRET", help="The secret; better in the variable.")
@click.option("--scheme", type=click.Choice(["acs3", "fc", "presigned", "acs"]), default="acs3", show_default=True)
@click.option(
    "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Sent as well, and signed if the scheme does."
)
@click.option("--expires", type=click.IntRange(1), default=900, show_default=True, help="Seconds, of a pre-signed URL.")
@click.option("--as", "form", type=click.Choice(["headers", "curl", "url"]), help="What to print.")
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
    """Sign a request of METHOD to URL, so that a trigger with `authType: function` lets it in.

    Without --config the key pair is that of ALIBABA_CLOUD_ACCESS_KEY_ID, _SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.
    Prints the headers to send, a curl command, or the URL: a pre-signed one is all that a browser's WebSocket can use.
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
            # curl leaves a header without a value out, unless it ends in a semicolon.
            options = (f"-H {shlex.quote(line if line[-1] != ' ' else line[:-2] + ';')}" for line in lines)
            address = signed.url.replace("ws", "http", 1) if signed.url.startswith("ws") else signed.url
            click.echo(" ".join(["curl", "-i", "-X", shlex.quote(method), *options, shlex.quote(address)]))
        case _:
            click.echo(signed.url)


@cli.command()
@click.option("--alg", "algorithm", default="ES256", show_default=True, help="RS, PS, ES, HS 256/384/512, or EdDSA.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A claim; VALUE is JSON, or a text.")
@click.option("--expires", type=int, default=3600, show_default=True, help="Seconds until `exp`; may be negative.")
@click.option("--key", "file", type=click.Path(path_type=Path), help="The private key's file; made if it is not there.")
@click.option("--jwks", is_flag=True, help="Print the JWKS for `authConfig.jwks` instead of a token.")
def token(algorithm: str, claims: tuple[str, ...], expires: int, file: Path | None, jwks: bool) -> None:
    """Make a token that a trigger with `authType: jwt` lets in, by a local key pair.

    Paste what --jwks prints into the trigger's authConfig once; the key is kept for further tokens.
    """
    import time

    pair = _key_pair(algorithm, file)
    if jwks:
        click.echo(json.dumps(pair.jwks(), indent=2))
        return
    click.echo(pair.token(dict(map(_claim, claims)), time.time(), expires))


@cli.command()
@click.argument("request_id")
def explain(request_id: str) -> None:
    """Say why the request with this id (header X-Fc-Request-Id, or `RequestId` in the body) was refused."""
    from fcemu.refusals import Refusals, explained, folder

    record = Refusals(folder(os.environ)).find(request_id.strip())
    if record is None:
        raise FcemuError(f"no refusal with request id {request_id} is known here (the last few thousand are kept)")
    click.echo(explained(record))


@cli.command()
def ps() -> None:
    """List what fcemu runs: fronts, their keepers and guards, the functions' processes, and leftovers."""
    from fcemu import leftovers
    from fcemu.refusals import folder

    lines = leftovers.listing(folder(os.environ))
    click.echo("\n".join(["     PID KIND           AGE    MEMORY", *lines]) if lines else "nothing of fcemu runs")


@cli.command()
def prune() -> None:
    """End the functions' processes whose front is no longer alive; those of living fronts are left alone."""
    from fcemu import leftovers
    from fcemu.refusals import folder

    ended, stubborn = leftovers.prune(folder(os.environ))
    for process in ended:
        click.echo(f"ended {process.pid}: {process.function} {process.instance}")
    if stubborn:
        raise FcemuError("could not end " + ", ".join(str(process.pid) for process in stubborn))
    if not ended:
        click.echo("nothing was left behind")


class _WithCommandOrList(_WithCommand):
    """As that; `--list` needs none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--list" in args[: args.index("--") if "--" in args else None]:
            return click.Command.parse_args(self, ctx, args)
        return super().parse_args(ctx, args)


@cli.command(cls=_WithCommandOrList)
@_FILE
@click.option("--list", "list_only", is_flag=True, help="Print the scenarios and run nothing.")
@click.option("--only", multiple=True, metavar="SCENARIO", help="Run this one, after the baseline; may be repeated.")
@click.option("--skip", multiple=True, metavar="SCENARIO", help="Leave this one out; may be repeated.")
@click.option(
    "--after",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds that a connection lasts, or is idle, until what is a matter of time happens to it.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which COMMAND is ended; then it hung.",
)
@click.option("--strict", is_flag=True, help="A scenario that COMMAND does not meet fails the run.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides what is drawn by chance.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write what came of it there, as JUnit XML.")
@_LOOP
@click.pass_context
def matrix(
    context: click.Context,
    file: Path,
    list_only: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    after: float,
    limit: float,
    strict: bool,
    seed: int,
    junit: Path | None,
    loop: str,
) -> None:
    """Run COMMAND, your client's test, once per documented failure, and print which it survives.

    In each scenario the functions of FILE (default: trigger.yaml) are served anew, and COMMAND runs as `fcemu exec`
    runs it, with the scenario's name in FCEMU_SCENARIO. It survives if it exits with 0. The baseline, in which nothing
    happens, comes first; where that fails the others are not run. The exit code is 0 if whatever was met was survived.
    """
    from fcemu.matrix import as_outcomes, as_text, listing, passed, scenarios, select

    account = _with_key(_with_options(_load(file).account, port=0), _key_of_run()[0])
    try:
        chosen = select(scenarios(account, after), only, skip)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if list_only:
        click.echo(listing(chosen))
        return
    from fcemu.trials import Matrix, run_all

    how = Matrix(account, context.meta["command"], str(file.resolve()), limit, seed, _loop_factory(loop))
    trials: list[Trial] = []
    try:
        for trial in run_all(how, chosen):
            trials.append(trial)
            if sys.stderr.isatty():
                click.echo(f"{len(trials)} of {len(chosen)}: {trial.scenario.name} {trial.outcome}", err=True)
    finally:  # what is known when it is interrupted is told as well
        if trials:
            click.echo(as_text(trials, strict))
            shown, names = _from_workspace(file), (function.functionName for function in account.functions)
            _publish(as_outcomes(trials, ", ".join(names), shown, strict), f"fcemu matrix {shown}", junit)
    sys.exit(0 if passed(trials, strict) else 1)


def _signing_key(config: Path | None, access_key_id: str | None, secret: str | None) -> AccessKey:
    from fcemu import credentials
    from fcemu.model import AccessKey

    if access_key_id and secret:
        return AccessKey(accessKeyId=access_key_id, accessKeySecret=secret)
    known = list(_load(config).account.accessKeys) if config is not None else []
    if not known and (key := credentials.from_environment(os.environ)) is not None:
        known = [key]
    for key in known:
        if access_key_id in (None, key.accessKeyId):
            return key
    raise FcemuError(
        "there is no key pair to sign with: give --config with `accessKeys:`, --access-key-id and its secret, or set "
        "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"
    )


def _key_pair(algorithm: str, file: Path | None) -> KeyPair:
    from fcemu.refusals import folder
    from fcemu.tokens import KeyPair

    file = file or folder(os.environ) / f"jwt-{algorithm}.json"
    try:
        if file.exists():
            pair = KeyPair.from_json(file.read_text())
            if pair.algorithm != algorithm:
                raise FcemuError(f"{file} holds a key for {pair.algorithm}; say --alg {pair.algorithm}")
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
        raise click.BadParameter(f"{text!r} is not NAME{separator}VALUE")
    return name.strip(), value.strip()


def _claim(text: str) -> tuple[str, object]:
    name, value = _name_and_value(text, "=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _load(file: Path) -> Configuration:
    from fcemu.config import load

    return load(file)


def _example_account() -> Account:
    """The embedded example, run by the Python that runs fcemu: that one has the packages it needs."""
    here = Path(__file__).parent
    installed = here / "_example"
    account = _load(
        (installed if installed.is_dir() else here.parent / "examples" / "echo-python") / "trigger.yaml"
    ).account
    function = account.functions[0]
    runtime = function.customRuntimeConfig.model_copy(update={"command": [sys.executable, "server.py"]})
    function = function.model_copy(update={"customRuntimeConfig": runtime})
    return account.model_copy(update={"functions": [function]})


def _with_options(
    account: Account,
    *,
    host: str | None = None,
    port: int | None = None,
    lazy: bool = False,
    scatter: bool = False,
    on_reload: OnReload | None = None,
) -> Account:
    """The account with what the command line says otherwise."""
    current_host, _, current_port = account.fcemu.listen.rpartition(":")
    update = {
        "listen": f"{host or current_host}:{current_port if port is None else port}",
        "start": "lazy" if lazy else account.fcemu.start,
        "scatter": scatter or account.fcemu.scatter,
        "onReload": on_reload or account.fcemu.onReload,
    }
    return account.model_copy(update={"fcemu": account.fcemu.model_copy(update=update)})


def _key_of_run() -> tuple[AccessKey, bool]:
    """The key pair of a configuration that names none: the environment's, or one that is made; and whether it was."""
    from fcemu import credentials

    known = credentials.from_environment(os.environ)
    return known or credentials.made(secrets.token_hex(24)), known is None


def _with_key(account: Account, key: AccessKey) -> Account:
    """The account with a key pair, if somebody asks for signatures and it has none."""
    from fcemu import credentials

    needs_key = not account.accessKeys and credentials.wanted(account)
    return account.model_copy(update={"accessKeys": [key]}) if needs_key else account


def _from_workspace(file: Path) -> str:
    """The file as GitHub names it, relative to the repository; elsewhere as it was given."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and file.resolve().is_relative_to(Path(workspace).resolve()):
        return str(file.resolve().relative_to(Path(workspace).resolve()))
    return str(file)


def _tell(found: Sequence[Outcome], title: str, junit: Path | None) -> None:
    """Print outcomes and publish them."""
    from fcemu import outcomes

    click.echo(outcomes.as_table(found))
    _publish(found, title, junit)


def _publish(found: Sequence[Outcome], title: str, junit: Path | None) -> None:
    """Write outcomes to `junit`, and in GitHub Actions mark the configuration and add to the summary.

    Raises:
        FcemuError: a file cannot be written.
    """
    import time

    from fcemu import outcomes

    try:
        if junit is not None:
            junit.write_text(outcomes.as_junit(found, title, time.time()), "utf-8")
        if "GITHUB_ACTIONS" in os.environ:
            for line in outcomes.as_annotations(found):
                click.echo(line)
            if page := os.environ.get("GITHUB_STEP_SUMMARY"):
                with open(page, "a", encoding="utf-8") as opened:
                    opened.write(outcomes.as_markdown(found, title))
    except OSError as error:
        raise FcemuError(f"the outcomes cannot be written: {error}") from error


@contextlib.contextmanager
def _printer(log: str | None, log_format: str) -> Iterator[Printer | None]:
    """What writes the log; nothing if nobody wants it."""
    from fcemu.serving import Printer

    with contextlib.ExitStack() as stack:
        try:
            stream = None if log is None else sys.stderr
            if log not in (None, "-"):
                stream = stack.enter_context(open(log, "w", encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise FcemuError(f"the log cannot be written: {error}") from error
        yield Printer(log_format, stream) if stream is not None else None


def _runner(loop: str) -> asyncio.Runner:
    import asyncio

    return asyncio.Runner(loop_factory=_loop_factory(loop))


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop != "asyncio":
        try:
            import uvloop
        except ImportError as error:
            if loop == "uvloop":
                raise FcemuError("uvloop is not installed: pip install uvloop, or use --loop asyncio") from error
        else:
            return uvloop.new_event_loop
    return None
