"""A configuration file becomes an account, or every mistake with its line."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fcemu import model
from fcemu.configuration.load import Configuration, json_schema, load
from fcemu.errors import ConfigError

Load = Callable[[str], Configuration]

ROOT = Path(__file__).parents[3]

S_YAML = """\
edition: 3.0.0
name: ws-demo
access: default
vars:
  region: cn-hangzhou
resources:
  ws-anonymous:
    component: fc3
    props: &base
      region: ${vars.region}
      functionName: ws-echo
      runtime: custom.debian10
      code: ./code
      handler: not-used
      cpu: 0.5
      memorySize: 512
      diskSize: 512
      timeout: 900
      instanceConcurrency: 10
      internetAccess: true
      environmentVariables:
        LOG_LEVEL: info
      customRuntimeConfig:
        command: [node]
        args: [/code/index.js]
        port: 9000
        healthCheckConfig:
          httpGetUrl: /readyz
          initialDelaySeconds: 0
          periodSeconds: 3
          timeoutSeconds: 1
          failureThreshold: 3
          successThreshold: 1
      instanceLifecycleConfig:
        initializer: {handler: not-used, timeout: 60}
        preStop: {handler: not-used, timeout: 30}
      triggers:
        - triggerName: httpTrigger
          triggerType: http
          qualifier: LATEST
          triggerConfig:
            authType: anonymous
            disableURLInternet: false
            methods: [GET, POST, PUT, DELETE, HEAD, PATCH, OPTIONS]
      customDomain:
        domainName: ws.example.com
        protocol: HTTP
        route: {path: /*, qualifier: LATEST}
  ws-signed:
    component: fc3
    props:
      <<: *base
      functionName: ws-echo-signed
      customDomain: {domainName: ws-signed.example.com, protocol: HTTP, route: {path: /*, qualifier: LATEST}}
      triggers:
        - triggerName: httpTrigger
          triggerType: http
          triggerConfig: {authType: function, disableURLInternet: false, methods: [GET]}
  ws-jwt:
    component: fc3
    props:
      <<: *base
      functionName: ws-echo-jwt
      customDomain: {domainName: ws-jwt.example.com, protocol: HTTP, route: {path: /*, qualifier: LATEST}}
      triggers:
        - triggerName: httpTrigger
          triggerType: http
          triggerConfig:
            authType: jwt
            methods: [GET, POST]
            authConfig:
              jwks:
                keys:
                  - {kty: EC, crv: P-256, use: sig, alg: ES256, kid: k1,
                     x: L474CtWzuIeZQmJmiI2eNb4U3fF_EHXGOAuFqwwdCLQ, y: mTnEKNp7ZgwElGnG3E_IGHQ43QBGQQbmOvFUX9ZoKvU}
              tokenLookup:
                - {readPosition: header, parameterName: Authorization, prefix: 'Bearer '}
              claimPassBy:
                - {claimName: sub, mappingParameterName: x-sub, mappingParameterPosition: header}
              whitelist: ['/public/*']
  ws-bearer:                      # form used by a live deployment; not yet in fc3's JSON schema
    component: fc3
    props:
      <<: *base
      functionName: ws-echo-bearer
      customDomain: {domainName: ws-bearer.example.com, protocol: HTTP, route: {path: /*, qualifier: LATEST}}
      sessionAffinity: HEADER_FIELD
      instanceConcurrency: 200
      sessionAffinityConfig:
        affinityHeaderFieldName: mySessionId
        sessionConcurrencyPerInstance: 20
        sessionTTLInSeconds: 21600
        sessionIdleTimeoutInSeconds: 1800
      triggers:
        - triggerName: httpTrigger
          triggerType: http
          triggerConfig:
            authType: bearer
            methods: [GET]
            authConfig:
              BearerFormat: opaque
              opaqueTokenConfig:
                tokens: [{enable: true, tokenName: t1, tokenData: 0123456789abcdef0123456789abcdef}]
"""


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as `trigger.yaml`, a relative path, next to a folder `code`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()

    def load_it(text: str) -> Configuration:
        Path("trigger.yaml").write_text(text, encoding="utf-8")
        return load(Path("trigger.yaml"))

    return load_it


def mistakes(load_text: Load, text: str) -> list[str]:
    """The mistakes of a text, each as it is printed."""
    with pytest.raises(ConfigError) as error:
        load_text(text)
    return [str(mistake) for mistake in error.value.findings]


def mistake(load_text: Load, text: str) -> str:
    """The only mistake of a text."""
    (only,) = mistakes(load_text, text)
    return only


# --- the three shapes ---------------------------------------------------------------------------------------------


def test_one_function_at_the_top(load_text: Load, tmp_path: Path) -> None:
    """The keys of one function are at the top level, next to those of the account."""
    configuration = load_text(
        "functionName: echo\ncode: code\naccountId: 42\nfcemu: {listen: 127.0.0.1:0, envFile: .env}\n"
        "customDomains: [{domainName: a.com, routeConfig: {routes: [{path: /*, functionName: echo}]}}]\n"
        "accessKeys: [{accessKeyId: id, accessKeySecret: secret}]\nquotas: {instances: 5}\n"
    )
    account = configuration.account
    assert [function.functionName for function in account.functions] == ["echo"]
    assert (account.accountId, account.quotas.instances, account.fcemu.listen) == ("42", 5, "127.0.0.1:0")
    assert account.customDomains[0].domainName == "a.com"
    assert account.accessKeys[0].accessKeyId == "id"
    assert configuration.path == Path("trigger.yaml")
    assert account.functions[0].code == str(tmp_path / "code")
    assert account.fcemu.envFile == str(tmp_path / ".env")


def test_several_functions(load_text: Load) -> None:
    """Several functions are written in a list."""
    account = load_text("functions:\n- {functionName: a}\n- {functionName: b}\naccountId: '7'\n").account
    assert [function.functionName for function in account.functions] == ["a", "b"]
    assert account.accountId == "7"


def test_s_yaml(load_text: Load, tmp_path: Path) -> None:
    """The reference's s.yaml loads: four functions with their triggers and domains."""
    configuration = load_text(S_YAML)
    account = configuration.account
    functions = {function.functionName: function for function in account.functions}
    assert list(functions) == ["ws-echo", "ws-echo-signed", "ws-echo-jwt", "ws-echo-bearer"]
    assert configuration.ignored == ()
    first = functions["ws-echo"]
    assert (first.region, first.timeout, first.cpu, first.code) == ("cn-hangzhou", 900, 0.5, str(tmp_path / "code"))
    assert first.start_command == ("node", "/code/index.js")
    assert first.customRuntimeConfig.healthCheckConfig is not None
    assert functions["ws-echo-signed"].timeout == 900
    assert functions["ws-echo-bearer"].instanceConcurrency == 200
    jwt = functions["ws-echo-jwt"].triggers[0].triggerConfig
    assert jwt.authType == "jwt"
    assert isinstance(jwt.authConfig, dict)
    assert jwt.authConfig["tokenLookup"] == [
        {"readPosition": "header", "parameterName": "Authorization", "prefix": "Bearer "}
    ]
    routes = {domain.domainName: domain.routeConfig.routes for domain in account.customDomains}
    assert [(route.path, route.functionName) for route in routes["ws-jwt.example.com"]] == [("/*", "ws-echo-jwt")]


def test_s_yaml_lines(load_text: Load) -> None:
    """Mistakes in an s.yaml have their lines; one in a merged block is reported once."""
    text = S_YAML
    for right, wrong in (
        ("timeout: 900", "timeout: 900000"),
        ("region: ${vars.region}", "region: ${vars.regoin}"),
        ("authType: bearer", "authType: bearr"),
        ("      functionName: ws-echo-jwt", "      functionName: 1-ws-echo-jwt"),
        ("domainName: ws-signed.example.com, protocol: HTTP,", "domainName: ws-signed.example.com, protocol: WS,"),
    ):
        assert text.count(right) == 1
        text = text.replace(right, wrong)

    def line(part: str) -> int:
        return text[: text.index(part)].count("\n") + 1

    assert [mistake.split(": ", 2)[:2] for mistake in mistakes(load_text, text)] == [
        [f"trigger.yaml:{line('region: ${')}", "resources.ws-anonymous.props.region"],
        [f"trigger.yaml:{line('timeout: 900000')}", "resources.ws-anonymous.props.timeout"],
        [f"trigger.yaml:{line('protocol: WS')}", "resources.ws-signed.props.customDomain.protocol"],
        [f"trigger.yaml:{line('functionName: 1-ws')}", "resources.ws-jwt.props.functionName"],
        [
            f"trigger.yaml:{line('authType: bearr')}",
            "resources.ws-bearer.props.triggers[0].triggerConfig.authType",
        ],
    ]


def test_s_yaml_reads_the_environment(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """An s.yaml's `${env(…)}` reads the environment of this process."""
    monkeypatch.setenv("FCEMU_TEST_TIMEOUT", "61")
    account = load_text(S_YAML.replace("timeout: 900", "timeout: ${env('FCEMU_TEST_TIMEOUT')}")).account
    assert account.functions[0].timeout == 61


def test_s_yaml_ignores_are_told(load_text: Load) -> None:
    """The parts of an s.yaml that are not web functions are left out, and reported with their lines."""
    text = "resources:\n  web: {component: fc3, props: {functionName: f}}\n  bucket: {component: oss}\n"
    assert [str(note) for note in load_text(text).ignored] == [
        "trigger.yaml:3: resources.bucket: component `oss` has no HTTP trigger; fcemu reads only fc3 and fc3-domain"
    ]


def test_old_s_yaml_is_recognised(load_text: Load) -> None:
    """An s.yaml of edition 1 is recognised, and not taken for a function with unknown keys."""
    assert "edition 1" in mistake(load_text, "edition: 1.0.0\nservices:\n  f: {component: fc}\n")


# --- anchors, merges, scalars -------------------------------------------------------------------------------------

MERGED = """\
functions:
  - &base
    functionName: a
    timeout: 60
    environmentVariables: &env {A: "1", B: "1"}
  - <<: *base
    functionName: b
    environmentVariables:
      B: "2"
      <<: *env
  - <<: [{timeout: 70}, *base]
    functionName: c
"""


def test_merges(load_text: Load) -> None:
    """Own keys take precedence over merged ones, wherever `<<` is; of merged mappings the first one does."""
    a, b, c = load_text(MERGED).account.functions
    assert (a.timeout, b.timeout, c.timeout) == (60, 60, 70)
    assert b.environmentVariables == {"A": "1", "B": "2"}
    assert c.environmentVariables == {"A": "1", "B": "1"}


def test_merged_mistakes_keep_their_line(load_text: Load) -> None:
    """A mistake in an anchor is reported once, on the line of the anchor; others have their own lines."""
    text = MERGED.replace("timeout: 60", "timeout: 0").replace("timeout: 70", "timeout: -1")
    assert [found.split(": ", 2)[:2] for found in mistakes(load_text, text)] == [
        ["trigger.yaml:4", "functions[0].timeout"],
        ["trigger.yaml:11", "functions[2].timeout"],
    ]


def test_merge_takes_mappings_only(load_text: Load) -> None:
    """A merge of something else is a mistake."""
    assert mistake(load_text, "functionName: f\n<<: 3\n") == (
        "trigger.yaml:2: <<: `<<` must be a mapping; write for example `<<: *base`"
    )


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}", "[" * 2000])
def test_endless_structures_are_refused(load_text: Load, text: str) -> None:
    """An anchor inside itself, or nesting without end, is a mistake."""
    assert "nested too deeply" in mistake(load_text, text)


def test_multiplying_anchors_are_refused(load_text: Load) -> None:
    """Nested aliases that expand to millions of values are a mistake, which is found quickly."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "expand to more than" in mistake(load_text, "\n".join(lines))


def test_scalars_are_those_of_serverless_devs(load_text: Load) -> None:
    """Words such as `on`, times and dates are strings; numbers with leading zeros are decimal."""
    text = "functionName: f\ntimeout: 060\nenvironmentVariables: {A: on, B: 12:30, C: 2024-01-01, D: 1.50, E: 0x10}\n"
    (function,) = load_text(text).account.functions
    assert function.timeout == 60
    assert function.environmentVariables == {"A": "on", "B": "12:30", "C": "2024-01-01", "D": "1.5", "E": "16"}


# --- what the API writes differently ------------------------------------------------------------------------------


def test_trigger_config_as_json(load_text: Load) -> None:
    """A trigger's configuration, and the authConfig in it, may be strings with JSON."""
    auth = {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}
    config = {"methods": ["GET"], "authType": "jwt", "authConfig": json.dumps(auth)}
    text = f"functionName: f\ntriggers:\n- triggerName: t\n  triggerConfig: '{json.dumps(config)}'\n"
    (trigger,) = load_text(text).account.functions[0].triggers
    assert trigger.triggerConfig.authConfig == auth


def test_mistakes_in_json_are_told(load_text: Load) -> None:
    """A mistake in a string with JSON has the line of the string and the key path within it."""
    text = "functionName: f\ntriggers:\n- triggerName: t\n  triggerConfig: '%s'\n"
    assert mistake(load_text, text % '{"methods": ["get"]}').startswith(
        "trigger.yaml:4: triggers[0].triggerConfig.methods[0]: expected GET, POST,"
    )
    assert "expected a mapping, or a string with its JSON" in mistake(load_text, text % '{"methods')
    assert "it is not an object" in mistake(load_text, text % "[]")


def test_domain_auth_info_as_json(load_text: Load) -> None:
    """A domain's authInfo may be a string with JSON, and an empty string means nothing."""
    auth = '{"users": [{"userName": "administrator", "password": "Correct-horse-1!"}]}'
    text = (
        "functionName: f\ncustomDomains:\n"
        f"- {{domainName: a.com, routeConfig: {{routes: []}}, authConfig: {{authType: basic, authInfo: '{auth}'}}}}\n"
        "- {domainName: b.com, routeConfig: {routes: []}, authConfig: {authType: none, authInfo: ''}}\n"
    )
    first, second = load_text(text).account.customDomains
    assert first.authConfig.authInfo == json.loads(auth)
    assert second.authConfig.authInfo is None


JWT = """\
functionName: f
triggers:
  - triggerName: t
    triggerConfig:
      methods: [GET]
      authType: jwt
      authConfig:
        jwks:
          keys:
            - {kty: RSA, kid: a, n: AQAB, e: AQAB}
            - kty: oct
              k: c2VjcmV0
        tokenLookup: "header:Authorization:Bearer ,query:token"
        claimPassBy: "header:sub:x-sub"
        whitelist: [/public/*]
"""


@pytest.mark.parametrize(
    ("right", "wrong", "line", "key", "said"),
    [
        ("kty: oct", "kty: otc", 11, "jwks.keys[1].kty", "expected RSA, EC, OKP, oct as `kty`, found `otc`"),
        ("k: c2VjcmV0", "k: c2Vj cmV0", 12, "jwks.keys[1].k", "`k` must be base64url without padding"),
        ("k: c2VjcmV0", "alg: HS256", 11, "jwks.keys[1]", "`k` is missing"),
        ("k: c2VjcmV0", "k: c2VjcmV0\n              kid: a", 13, "jwks.keys[1].kid", "position 1 has the same `kid`"),
        ("kid: a, n", "n", 11, "jwks.keys[1]", "position 1 has no `kid` either"),
        ("e: AQAB", "e: AQAB, d: AQAB", 10, "jwks.keys[0].d", "paste the public key only"),
        ("e: AQAB", "e: AQAB, alg: ES256", 10, "jwks.keys[0].alg", "found `ES256`"),
        ("e: AQAB", "e: AQAB, use: enc", 10, "jwks.keys[0].use", "expected `use: sig`, found `enc`"),
        ("e: AQAB", "e: AQAB, key_ops: [sign]", 10, "jwks.keys[0].key_ops", "`verify`"),
        ("query:token", "body:token", 13, "tokenLookup", "expected header, cookie, query or form"),
        ("query:token", "token", 13, "tokenLookup", "expected `<position>:<name>`"),
        ("header:sub:x-sub", "header:sub", 14, "claimPassBy", "expected `<position>:<claim>:<name>`"),
        ("header:sub:x-sub", "header:sub:Host", 14, "claimPassBy", "the gateway sets the header"),
        ("[/public/*]", "[public]", 15, "whitelist[0]", "write `/public`"),
        ("[/public/*]", "[/a*b]", 15, "whitelist[0]", "only at the end"),
        ("whitelist:", "whitelits:", 15, "whitelits", "unknown key; did you mean `whitelist`?"),
        ("whitelist:", "whiteList: 5\n        blackList:", 15, "whiteList", "expected a list, found 5"),
        ("whitelist:", "whitelist: [/a]\n        blacklist:", 16, "blacklist", "exclude each other"),
        ("jwks:", "jwk:", 7, "jwks", "this key is missing; write `jwks: {keys: ["),
    ],
)
def test_mistakes_in_auth_config_have_their_line(
    load_text: Load, right: str, wrong: str, line: int, key: str, said: str
) -> None:
    """A mistake in a trigger's authConfig is reported with its line, its key and what to write."""
    text = JWT.replace("n: AQAB", f"n: {'qdTfBoJc9lL5EJte' * 16}")
    assert load_text(text).account.functions[0].triggers[0].triggerConfig.auth is not None
    found = mistakes(load_text, text.replace(right, wrong, 1))
    start = f"trigger.yaml:{line}: triggers[0].triggerConfig.authConfig.{key}: "
    assert any(one.startswith(start) and said in one for one in found), found


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ("authType: jwt", "triggers[0].triggerConfig: authType jwt needs `authConfig: {jwks:"),
        ("authType: bearer", "authType bearer needs `authConfig: {BearerFormat: opaque"),
        ("authType: basic", "authType basic needs `authConfig: {users:"),
        ("authType: jwt, authConfig: 5", "authConfig: expected a mapping"),
        (
            "authType: jwt, authConfig: {jwks: hush}",
            "authConfig.jwks: expected a mapping (`key: value` lines), found a",
        ),
        ("authType: bearer, authConfig: {tokens: [hush]}", "authConfig: BearerFormat is required"),
        ("authType: bearer, authConfig: {BearerFormat: opaque, opaqueTokenConfig: {tokens: [hush]}}", "found a string"),
        (
            "authType: bearer, authConfig: {BearerFormat: Opaque, opaqueTokenConfig: {tokens: "
            "[{enable: true, tokenName: a, tokenData: 0123456789abcdef0123456789abcdef}]}}",
            "BearerFormat: expected opaque, found the string 'Opaque'; did you mean `opaque`?",
        ),
        (
            "authType: bearer, authConfig: {BearerFormat: opaque, opaqueTokenConfig: {tokens: "
            "[{enable: true, tokenName: a, tokenData: hush}]}}",
            "tokens[0].tokenData: expected 32 to 128 characters",
        ),
        (
            "authType: bearer, authConfig: {BearerFormat: opaque, opaqueTokenConfig: {tokens: "
            "[{tokenName: a, tokenData: 0123456789abcdef0123456789abcdef}]}}",
            "tokens[0].enable: this key is missing; write `enable: true`",
        ),
        (
            "authType: basic, authConfig: {users: [{userName: administrator, password: hush}]}",
            "users[0].password: expected 12 to 128 characters with an upper-case letter",
        ),
        (
            "authType: basic, authConfig: {users: [{userName: 'administrator:', password: hush}]}",
            "users[0].userName: expected a string of 12 to 128 characters without `:`",
        ),
    ],
)
def test_auth_config_must_fit_its_type(load_text: Load, auth: str, said: str) -> None:
    """An authConfig that is missing or malformed is reported once, without a secret in the message."""
    text = f"functionName: f\ntriggers:\n- triggerName: t\n  triggerConfig: {{methods: [GET], {auth}}}\n"
    found = mistakes(load_text, text)
    assert sum(said in one for one in found) == 1, found
    assert len(found) == 1 + ("administrator:" in auth)
    assert all("hush" not in one for one in found)


def test_domains_auth_info_is_checked_like_a_triggers(load_text: Load) -> None:
    """A custom domain's authInfo must fit its authType, too."""
    domain = "{domainName: a.com, routeConfig: {routes: []}, authConfig: {authType: jwt%s}}"
    text = f"functionName: f\ncustomDomains:\n- {domain}\n"
    assert "customDomains[0].authConfig: authType jwt needs `authInfo: {jwks" in mistake(load_text, text % "")
    assert mistake(load_text, text % ", authInfo: {jwks: {keys: []}}").startswith(
        "trigger.yaml:3: customDomains[0].authConfig.authInfo.jwks.keys: expected at least one item"
    )


def test_other_triggers_are_left_out(load_text: Load) -> None:
    """Triggers of other types are reported as ignored; the lines of the others stay right."""
    text = """\
functionName: f
triggers:
  - {triggerName: clock, triggerType: timer, triggerConfig: {cronExpression: "@every 1m"}}
  - triggerName: web
    triggerType: http
    triggerConfig: {methods: [GET]}
"""
    configuration = load_text(text)
    assert [trigger.triggerName for trigger in configuration.account.functions[0].triggers] == ["web"]
    assert [str(note) for note in configuration.ignored] == [
        "trigger.yaml:3: triggers[0]: fcemu serves only HTTP triggers, not triggers of type timer"
    ]
    assert mistake(load_text, text.replace("GET", "GTE")).startswith(
        "trigger.yaml:6: triggers[1].triggerConfig.methods[0]: "
    )


def test_code_defaults_to_the_files_folder(load_text: Load, tmp_path: Path) -> None:
    """Without `code`, the folder of the file is the code."""
    assert load_text("functionName: f\n").account.functions[0].code == str(tmp_path)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("./nowhere", "does not exist"),
        ("trigger.yaml", "found the file"),
        ("'a\\0b'", "does not exist"),
        ("{ossBucketName: b, ossObjectName: o}", "local folder, not a package in OSS; write `code: ./code`"),
        ("{src: ./mine, ossBucketName: b}", "write `code: ./mine`"),
        ("[code]", "expected a string, found a list"),
    ],
)
def test_code_must_be_a_folder(load_text: Load, code: str, said: str) -> None:
    """Code that is not a local folder is a mistake."""
    found = mistake(load_text, f"functionName: f\ncode: {code}\n")
    assert found.startswith("trigger.yaml:2: code: ")
    assert said in found


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "timeout: '60'",
            "timeout: expected a whole number from 1 to 86400, found the string '60'; write `60` without quotes",
        ),
        ("timeout: 60s", "timeout: expected a whole number from 1 to 86400, found the string '60s'"),
        ("timeout: 60.0", "timeout: expected a whole number from 1 to 86400, found 60.0; write `60`"),
        ("timeout: 0", "timeout: expected a number from 1 to 86400, found 0"),
        ("timeout:", "timeout: this key has no value; write one, or remove the key"),
        ("timeout: true", "timeout: expected a whole number from 1 to 86400, found true"),
        ("timeout: [1]", "timeout: expected a whole number from 1 to 86400, found a list"),
        ("cpu: '0.5'", "cpu: expected a number from 0.05 to 16, found the string '0.5'; write `0.5` without quotes"),
        ("cpu: 17", "cpu: expected a number from 0.05 to 16, found 17"),
        ("memorySize: 500", "memorySize: expected a multiple of 64 from 128 to 32768, found 500; write `512`"),
        ("memorySize: 130", "memorySize: expected a multiple of 64 from 128 to 32768, found 130; write `128`"),
        ("diskSize: 511", "diskSize: expected 512 or 10240, found 511; did you mean `512`?"),
        ("diskSize: '512'", "diskSize: expected 512 or 10240, found the string '512'; write `512` without quotes"),
        (
            "internetAccess: 'true'",
            "internetAccess: expected true or false, found the string 'true'; write `true` without quotes",
        ),
        ("internetAccess: yes", "internetAccess: expected true or false, found the string 'yes'; write `true`"),
        ("description: 5", 'description: expected a string, found 5; put it in quotes: `"5"`'),
        ("description: false", 'description: expected a string, found false; put it in quotes: `"false"`'),
        ("description: {}", "description: expected a string, found a mapping"),
        ("instanceConcurency: 3", "instanceConcurency: unknown key; did you mean `instanceConcurrency`?"),
        ("InstanceConcurrency: 3", "InstanceConcurrency: unknown key; did you mean `instanceConcurrency`?"),
        ("customDomain: {}", "customDomain: unknown key; did you mean `customDomains`?"),
        ("port: 8080", "port: unknown key; did you mean `customRuntimeConfig.port`?"),
        ("listen: 0.0.0.0:80", "listen: unknown key; did you mean `fcemu.listen`?"),
        ("methods: [GET]", "methods: unknown key; did you mean `triggers[0].triggerConfig.methods`?"),
        ("zzz: 1", "zzz: unknown key; remove it"),
        ("quotas: {x: 1}", "quotas.x: unknown key; the keys here are instances"),
        ("'a b': 1", "'a b': unknown key; remove it"),
        (
            "customRuntimeConfig: node",
            "customRuntimeConfig: expected a mapping (`key: value` lines), found the string 'node'",
        ),
        (
            "customRuntimeConfig: {command: node}",
            "command: expected a list, found the string 'node'; write `command: [node]`",
        ),
        ("customRuntimeConfig: {args: [80]}", 'args[0]: expected a string, found 80; put it in quotes: `"80"`'),
        ("customRuntimeConfig: {healthCheckConfig: {}}", "this key is missing; write `httpGetUrl: /healthz`"),
        (
            "customRuntimeConfig: {healthCheckConfig: {httpGetUrl: x}}",
            "httpGetUrl: expected a path that starts with `/`, found the string 'x'; write `/x`",
        ),
        ("concurrencyConfig: {}", "reservedConcurrency: this key is missing; write `reservedConcurrency: 10`"),
        ("concurrencyConfig: {reservedConcurrency: -1}", "expected a number of at least 0, found -1"),
        (
            "environmentVariables: {FC_X: 1}",
            "environmentVariables.FC_X: The environment variable name 'FC_X' is reserved",
        ),
        ("environmentVariables: {X: true}", "environmentVariables.X: expected a string, found true"),
        ("runtime: python3.9", "runtime: runtime 'python3.9' calls a handler"),
        ("triggers: {}", "triggers: expected a list, found a mapping"),
        ("triggers: [{}]", "triggers[0].triggerName: this key is missing; write `triggerName: http-trigger`"),
        ("triggers: [x]", "triggers[0]: expected a mapping (`key: value` lines), found the string 'x'"),
        ("accessKeys: [{accessKeyId: a, accessKeySecret: 12345}]", "found a number; put it in quotes"),
        ("fcemu: {idleTimeout: 0}", "fcemu.idleTimeout: expected a number above 0, found 0"),
        ("fcemu: {start: egaer}", "expected eager or lazy, found the string 'egaer'; did you mean `eager`?"),
        ("fcemu: {listen: 8080}", "expected a host and a port, such as `127.0.0.1:8080`, found 8080"),
        ("fcemu: {listen: '8080'}", "expected a host and a port, such as `127.0.0.1:8080`, found the string '8080'"),
        ("timeout: !seconds 5", "timeout: this cannot be read as '!seconds'; write a plain value"),
        ("timeout: !!int five", "timeout: this cannot be read as 'int'"),
        ('description: "\\ud800"', "description: this cannot be read as 'str'"),
        ("description: {{ name }}", "a key must be a string, not a list or mapping"),
        ("functionName: g", "functionName: this key is written twice, first on line 1; keep only one"),
        ("functions: []", "expected at least one function; write `functions: [{functionName: my-function}]`"),
    ],
)
def test_a_mistake_is_explained(load_text: Load, line: str, said: str) -> None:
    """A mistake on line 2 is reported with what was expected, what was found and what to write."""
    found = mistakes(load_text, f"functionName: f\n{line}\n")
    assert all(one.startswith("trigger.yaml:2: ") or "functionName: unknown" in one for one in found)
    assert any(said in one for one in found), found


def test_secrets_are_not_printed(load_text: Load) -> None:
    """A secret is not in the message about it."""
    assert "12345" not in mistake(
        load_text, "functionName: f\naccessKeys: [{accessKeyId: a, accessKeySecret: 12345}]\n"
    )


def test_a_functions_key_beside_the_list(load_text: Load) -> None:
    """A function's key next to `functions:` is reported with the place where it belongs."""
    assert mistake(load_text, "functions:\n- {functionName: f}\ntimeout: 5\n") == (
        "trigger.yaml:3: timeout: unknown key; did you mean `functions[0].timeout`?"
    )


ALL_WRONG = """\
functionName: 1f
runtime: python3.9
code: ./nowhere
timeout: "60"
timeout: 0
memorySize: 100
instanceConcurency: 10
environmentVariables: {FC_A: 1, "a b": 2, OK: yes}
triggers:
  - triggerName: clock
    triggerType: timer
  - triggerName: web
    methods: [GET]
    triggerConfig: {methods: [get, POST], authType: anonymus, disableURLInternet: "no"}
  - {triggerName: other, triggerType: htpp, triggerConfig: {methods: [GET]}}
customDomains:
  - domainName: a.com
    routeConfig: {routes: [{path: /a*b, functionName: f}]}
accessKeys: [{accessKeyId: a}]
quotas: {instances: 0}
fcemu: {listen: "8080", strat: lazy}
"""


def test_all_mistakes_at_once(load_text: Load) -> None:
    """All mistakes are reported at once, in the order of lines, whichever stage found them."""
    found = [":".join(one.split(":", 3)[1:3]) for one in mistakes(load_text, ALL_WRONG)]
    assert found == [
        "1: functionName",
        "2: runtime",
        "3: code",
        "5: timeout",
        "5: timeout",
        "6: memorySize",
        "7: instanceConcurency",
        "8: environmentVariables.FC_A",
        "8: environmentVariables.'a b'",
        "13: triggers[1].methods",
        "14: triggers[1].triggerConfig.methods[0]",
        "14: triggers[1].triggerConfig.authType",
        "14: triggers[1].triggerConfig.disableURLInternet",
        "15: triggers[2].triggerType",
        "18: customDomains[0].routeConfig.routes[0].path",
        "19: accessKeys[0].accessKeySecret",
        "20: quotas.instances",
        "21: fcemu.listen",
        "21: fcemu.strat",
    ]


def test_rules_between_values_are_told_beside_others(load_text: Load) -> None:
    """Rules between several values are applied even if other values are wrong."""
    text = """\
timeout: 0
functionName: f
triggers:
  - {triggerName: a, triggerConfig: {methods: [GET], authType: x}}
  - {triggerName: b, triggerConfig: {methods: [GET]}}
customDomains:
  - domainName: a.com
    routeConfig:
      routes:
        - {path: /a, functionName: f}
        - path: /b
          functionName: g
"""
    assert [one.split(": ", 2)[:2] for one in mistakes(load_text, text)] == [
        ["trigger.yaml:1", "timeout"],
        ["trigger.yaml:4", "triggers[0].triggerConfig.authType"],
        ["trigger.yaml:5", "triggers[1]"],
    ]
    text = text.replace("  - {triggerName: b, triggerConfig: {methods: [GET]}}\n", "")
    assert [one.split(": ", 2)[:2] for one in mistakes(load_text, text)] == [
        ["trigger.yaml:1", "timeout"],
        ["trigger.yaml:4", "triggers[0].triggerConfig.authType"],
        ["trigger.yaml:11", "customDomains[0].routeConfig.routes[1].functionName"],
    ]


# --- files that are no configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty; write one function"),
        ("# only a comment\n", 1, "the file is empty"),
        ("~", 1, "the file is empty"),
        ("- a\n- b\n", 1, "expected a mapping (`key: value` lines), found a list"),
        ("echo", 1, "found the string 'echo'"),
        ("hello: world\n", 1, "none of these keys is known; write one function"),
        ("functionName: f\n\ttimeout: 3\n", 2, "indent with spaces instead of tabs"),
        ("functionName: f\ndescription: a: b\n", 2, "quote a value that contains `: `"),
        ("functionName: f\n  timeout: 3\n", 2, "check the indentation"),
        ("functionName: [f\n", 2, "a bracket is not closed"),
        ("functionName: 'f\n", 2, "a quote or bracket is not closed"),
        ("functionName: *f\n", 1, "undefined alias"),
        ("functionName: f\n---\nfunctionName: g\n", 2, "a file may have only one document"),
        ("functionName: f\ndescription: \x07\n", 2, "a character that YAML does not allow (#x0007)"),
        ('functionName: "\\UFFFFFFFF"\n', 1, "this is not valid YAML"),
    ],
)
def test_broken_texts_are_explained(load_text: Load, text: str, line: int, said: str) -> None:
    """A text that is not a configuration is one mistake, on its line, with advice."""
    found = mistake(load_text, text)
    assert found.startswith(f"trigger.yaml:{line}: ")
    assert said in found


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file is a mistake that names the file as given, and suggests one that exists."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^trigger\.yaml:1: this file does not exist; `fcemu serve --example`"):
        load(Path("trigger.yaml"))
    Path("s.yaml").write_text(S_YAML)
    with pytest.raises(ConfigError, match=r"this file does not exist; did you mean s\.yaml\?"):
        load(Path("trigger.yaml"))


def test_folder(tmp_path: Path) -> None:
    """A folder instead of a file is a mistake that suggests the configuration in it."""
    with pytest.raises(ConfigError, match="this is a folder, not a file; pass the YAML file in it"):
        load(tmp_path)
    (tmp_path / "trigger.yaml").write_text("functionName: f\n")
    with pytest.raises(ConfigError, match="did you mean .*trigger.yaml"):
        load(tmp_path)


def test_other_encodings(tmp_path: Path) -> None:
    """A file that is not UTF-8 is a mistake on the line of the first invalid byte; a byte order mark is allowed."""
    path = tmp_path / "trigger.yaml"
    path.write_bytes("functionName: f\ndescription: Grüße\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"yaml:2: this line is not UTF-8"):
        load(path)
    path.write_bytes("functionName: f\n".encode("utf-8-sig"))
    assert load(path).account.functions[0].functionName == "f"


def test_unreadable_path() -> None:
    """An invalid path is a mistake."""
    with pytest.raises(ConfigError, match="the file cannot be read"):
        load(Path("a\0b"))


# --- anything at all ----------------------------------------------------------------------------------------------

KEYS = sorted({key for found in vars(model).values() if hasattr(found, "model_fields") for key in found.model_fields})
VALUES = st.sampled_from(
    ["", "~", "1", "-1.5", ".inf", ".nan", "true", "'x'", "f", "[", "]", "{", "}", "*a", "&a", "!x", "!!int z"]
    + ["<<: *a", "${vars.x}", "${", '"\\ud800"', "[GET]", "[{}]", "{a: b}", "http", "jwt", "'{}'", "'[1'", "- x", "? k"]
)
LINES = st.builds(
    "{}{}{}: {}".format,
    st.sampled_from(["", "  ", "    ", "      "]),
    st.sampled_from(["", "- "]),
    st.sampled_from([*KEYS, "resources", "component", "props", "vars", "customDomain", "route", "<<", "x"]),
    VALUES,
)


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join)))
def test_any_text_loads_or_is_explained(text: str) -> None:
    """Whatever a file holds, it loads or raises ConfigError and nothing else."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "trigger.yaml")
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with contextlib.suppress(ConfigError):
            load(path)


# --- what comes with the project ----------------------------------------------------------------------------------


def models() -> list[type[BaseModel]]:
    """Every model of the configuration."""
    found = [value for value in vars(model).values() if isinstance(value, type) and issubclass(value, model.Resource)]
    return [value for value in found if value is not model.Resource]


def test_the_example_loads() -> None:
    """The commented example is valid."""
    account = load(ROOT / "trigger.example.yaml").account
    assert account.functions[0].code == str(ROOT / "examples" / "echo-python")


@pytest.mark.parametrize("name", sorted({key for found in models() for key in found.model_fields}))
def test_the_example_has_every_key(name: str) -> None:
    """Each key of each model is in the example, as a key or in a comment."""
    text = (ROOT / "trigger.example.yaml").read_text()
    assert re.search(rf"(?<!\w){name}:", text)


def test_json_schema_has_both_shapes() -> None:
    """The JSON Schema describes one function with the account's keys, and several functions."""
    schema = json_schema()
    one, several = schema["anyOf"]
    assert {"functionName", "customDomains", "fcemu"} <= one["properties"].keys()
    assert "functions" not in one["properties"]
    assert "functions" in several["properties"]
    references: set[str] = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert references <= schema["$defs"].keys()
