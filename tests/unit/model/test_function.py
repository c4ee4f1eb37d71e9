"""What the models accept, refuse and default to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from fcemu.model import (
    AccessKey,
    Account,
    BasicAuthConfig,
    BearerAuthConfig,
    CustomDomain,
    DomainAuthConfig,
    Function,
    HttpTrigger,
    HttpTriggerConfig,
    JwtAuthConfig,
    PathConfig,
    Settings,
)


def function(**props: Any) -> Function:
    """A function of the smallest kind, with more props."""
    return Function.model_validate({"functionName": "f", **props})


def trigger(name: str = "http", qualifier: str = "LATEST", **config: Any) -> dict[str, Any]:
    """An anonymous trigger's data."""
    config = {"methods": ["GET"], "authType": "anonymous", **config}
    return {"triggerName": name, "qualifier": qualifier, "triggerConfig": config}


def domain(name: str, *routes: str) -> dict[str, Any]:
    """A custom domain's data, with one route to each function."""
    config = [{"path": f"/{index}", "functionName": route} for index, route in enumerate(routes)]
    return {"domainName": name, "routeConfig": {"routes": config}}


def findings(error: pytest.ExceptionInfo[ValidationError]) -> list[tuple[str, tuple[str | int, ...]]]:
    """The texts and places that a validator of ours gave."""
    (details,) = error.value.errors()
    found: list[tuple[str, tuple[str | int, ...]]] = details["ctx"]["findings"]
    return found


def test_defaults_are_the_clouds() -> None:
    """An unwritten limit has the API's default."""
    plain = function()
    assert (plain.timeout, plain.memorySize, plain.instanceConcurrency) == (3, 512, 1)
    assert plain.customRuntimeConfig.port == 9000
    assert HttpTrigger.model_validate(trigger()).triggerType == "http"


def test_trigger_auth_defaults_to_function() -> None:
    """A trigger without `authType` asks for a signature, as the API's default does."""
    data = trigger()
    del data["triggerConfig"]["authType"]
    assert HttpTrigger.model_validate(data).triggerConfig.authType == "function"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", 0),
        ("timeout", 86401),
        ("timeout", "60"),
        ("timeout", 60.0),
        ("timeout", True),
        ("cpu", 0.01),
        ("cpu", 17),
        ("cpu", "0.5"),
        ("cpu", True),
        ("memorySize", 127),
        ("memorySize", 200),
        ("memorySize", 32832),
        ("diskSize", 1024),
        ("instanceConcurrency", 0),
        ("instanceConcurrency", 201),
        ("functionName", "1f"),
        ("functionName", "f" * 65),
        ("functionName", ""),
        ("concurrencyConfig", {"reservedConcurrency": -1}),
        ("customRuntimeConfig", {"port": 0}),
        ("customRuntimeConfig", {"healthCheckConfig": {"httpGetUrl": "no-slash"}}),
        ("customRuntimeConfig", {"healthCheckConfig": {"httpGetUrl": "/", "timeoutSeconds": 4}}),
        ("triggers", [trigger(methods=[])]),
        ("triggers", [trigger(methods=["TRACE"])]),
        ("triggers", [trigger(authType="oauth")]),
        ("triggers", [trigger(corsConfig={"maxAge": 86401})]),
        ("unknown", 1),
    ],
)
def test_out_of_range_is_refused(key: str, value: object) -> None:
    """A function refuses what the API refuses."""
    with pytest.raises(ValidationError):
        function(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", 1),
        ("timeout", 86400),
        ("cpu", 0.05),
        ("cpu", 16),
        ("memorySize", 128),
        ("memorySize", 32768),
        ("diskSize", 10240),
        ("instanceConcurrency", 200),
        ("functionName", "_f-1"),
        ("concurrencyConfig", {"reservedConcurrency": 0}),
    ],
)
def test_ends_of_ranges_are_accepted(key: str, value: object) -> None:
    """A function accepts both ends of each range."""
    assert key in function(**{key: value}).model_fields_set


def test_models_are_frozen() -> None:
    """A model refuses assignment."""
    with pytest.raises(ValidationError):
        function().timeout = 5  # type: ignore[misc]


@pytest.mark.parametrize("runtime", ["custom", "custom.debian10", "custom.debian12", "nodejs20"])
def test_web_runtimes_are_accepted(runtime: str) -> None:
    """A runtime that runs a server is accepted."""
    assert function(runtime=runtime).runtime == runtime


@pytest.mark.parametrize(
    ("runtime", "advice"),
    [("custom-container", "processes, not images"), ("python3.10", "custom.debian12"), ("java11", "calls a handler")],
)
def test_other_runtimes_are_explained(runtime: str, advice: str) -> None:
    """A runtime that fcemu cannot run is refused with what to write instead."""
    with pytest.raises(ValidationError, match=advice):
        function(runtime=runtime)


def test_start_command_joins_command_and_args() -> None:
    """The start command is command, then args."""
    config = {"command": ["python3"], "args": ["server.py", "-v"]}
    assert function(customRuntimeConfig=config).start_command == ("python3", "server.py", "-v")


def test_start_command_defaults() -> None:
    """A function without a command starts `bootstrap`, or its index.js on Node.js."""
    assert function().start_command == ("/code/bootstrap",)
    assert function(runtime="nodejs20").start_command == ("node", "index.js")


def test_environment_numbers_become_text() -> None:
    """A variable's bare number is its digits."""
    assert function(environmentVariables={"PORT": 80, "RATE": 0.5}).environmentVariables == {
        "PORT": "80",
        "RATE": "0.5",
    }


def test_environment_refuses_truth_values() -> None:
    """A variable's truth value is refused, because its spelling would be a guess."""
    with pytest.raises(ValidationError):
        function(environmentVariables={"DEBUG": True})


def test_reserved_and_odd_variable_names_are_all_found() -> None:
    """Each bad variable name is one finding, at its place."""
    with pytest.raises(ValidationError) as error:
        function(environmentVariables={"FC_A": "", "OK": "", "1X": "", "FC_B": ""})
    assert [place for _, place in findings(error)] == [("FC_A",), ("1X",), ("FC_B",)]
    assert "The environment variable name 'FC_A' is reserved by Function Compute" in str(error.value)


def test_environment_size_counts_bytes() -> None:
    """The variables may have 4096 bytes together, names included, as UTF-8."""
    function(environmentVariables={"N": "x" * 4095})
    with pytest.raises(ValidationError, match="4097 bytes"):
        function(environmentVariables={"N": "é" * 2048})


def test_one_trigger_per_qualifier() -> None:
    """Two triggers of one qualifier are refused; of two qualifiers, accepted."""
    assert len(function(triggers=[trigger("a"), trigger("b", "prod")]).triggers) == 2
    with pytest.raises(ValidationError) as error:
        function(triggers=[trigger("a"), trigger("b", "prod"), trigger("c"), trigger("d", "prod")])
    assert [place for _, place in findings(error)] == [("triggers", 2), ("triggers", 3)]


def test_numeric_qualifier_is_text() -> None:
    """A bare version number is a qualifier."""
    assert HttpTrigger.model_validate({**trigger(), "qualifier": 3}).qualifier == "3"


@pytest.mark.parametrize("path", ["/", "/a", "/*", "/a/*"])
def test_paths_and_prefixes_are_routes(path: str) -> None:
    """An exact path, or a prefix that ends in `/*`, is a route."""
    assert PathConfig(path=path, functionName="f").path == path


@pytest.mark.parametrize("path", ["a", "", "/a*", "/*/a", "/a/*/*"])
def test_other_patterns_are_refused(path: str) -> None:
    """A star elsewhere, or a path without a slash, is refused."""
    with pytest.raises(ValidationError):
        PathConfig(path=path, functionName="f")


def test_domain_names_are_lower_case() -> None:
    """A domain name is stored in lower case, as host names are compared."""
    assert CustomDomain.model_validate(domain("WS.Example.COM", "f")).domainName == "ws.example.com"


def test_account_finds_all_clashes() -> None:
    """Clashing names and routes to nowhere are all found, each at its place."""
    with pytest.raises(ValidationError) as error:
        Account.model_validate(
            {
                "functions": [{"functionName": "f"}, {"functionName": "F"}],
                "customDomains": [domain("a.com", "f", "g"), domain("A.com", "h")],
            }
        )
    assert [place for _, place in findings(error)] == [
        ("functions", 1, "functionName"),
        ("customDomains", 0, "routeConfig", "routes", 1, "functionName"),
        ("customDomains", 1, "domainName"),
        ("customDomains", 1, "routeConfig", "routes", 0, "functionName"),
    ]


def test_function_lookup_ignores_case() -> None:
    """The account finds a function by its name in any case, and none for another name."""
    account = Account.model_validate({"functions": [{"functionName": "Chat"}]})
    found = account.function("cHAT")
    assert found is not None
    assert found.functionName == "Chat"
    assert account.function("other") is None


def test_secrets_are_not_shown() -> None:
    """A key pair's repr keeps its secret."""
    shown = repr(AccessKey(accessKeyId="id", accessKeySecret="hush", securityToken="quiet"))
    assert "id" in shown
    assert "hush" not in shown
    assert "quiet" not in shown


OCT = {"kty": "oct", "k": "aHVzaC1odXNo"}
JWT = {"jwks": {"keys": [OCT]}}
AUTH_CONFIGS: list[tuple[str, dict[str, Any], type]] = [
    ("jwt", JWT, JwtAuthConfig),
    ("basic", {"users": [{"userName": "administrator", "password": "hush-HUSH-1!"}]}, BasicAuthConfig),
    (
        "bearer",
        {
            "BearerFormat": "opaque",
            "opaqueTokenConfig": {"tokens": [{"enable": True, "tokenName": "a", "tokenData": "hush" * 8}]},
        },
        BearerAuthConfig,
    ),
]


@pytest.mark.parametrize(("auth_type", "config", "kind"), AUTH_CONFIGS)
def test_auth_config_is_read_by_its_type(auth_type: str, config: dict[str, Any], kind: type) -> None:
    """The authConfig of a trigger and the authInfo of a domain, a mapping or its JSON, are what their authType says."""
    for value in (config, json.dumps(config)):
        of_trigger = HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": auth_type, "authConfig": value})
        of_domain = DomainAuthConfig.model_validate({"authType": auth_type, "authInfo": value})
        assert isinstance(of_trigger.auth, kind)
        assert of_trigger.auth == of_domain.auth
        assert of_trigger.authConfig == of_domain.authInfo == value
        for shown in map(repr, (of_trigger, of_domain, of_trigger.auth)):
            assert "hush" not in shown
            assert OCT["k"] not in shown


@pytest.mark.parametrize("auth_type", ["anonymous", "function"])
def test_other_types_have_no_auth_config(auth_type: str) -> None:
    """A type without a configuration of its own has none, whatever is written there."""
    config = HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": auth_type, "authConfig": {"a": 1}})
    assert config.auth is None
    assert DomainAuthConfig().auth is None


@pytest.mark.parametrize("auth_type", ["jwt", "basic", "bearer"])
@pytest.mark.parametrize("value", [None, {}, "", "[1]", "{", {"tokens": []}, {"jwks": {}}])
def test_auth_config_that_lets_nobody_in_is_refused(auth_type: str, value: object) -> None:
    """A type that needs a configuration is refused without a complete one."""
    with pytest.raises(ValidationError):
        HttpTriggerConfig.model_validate({"methods": ["GET"], "authType": auth_type, "authConfig": value})
    with pytest.raises(ValidationError):
        DomainAuthConfig.model_validate({"authType": auth_type, "authInfo": value})


def test_token_lookup_text_is_the_list() -> None:
    """The text form of tokenLookup is its list form; a prefix keeps its blanks and may hold a colon."""
    text = JwtAuthConfig.model_validate(
        {**JWT, "tokenLookup": "header:A:Bearer: , cookie:t,query:q:,form:f"}
    ).tokenLookup
    places = [(place.readPosition, place.parameterName, place.prefix) for place in text]
    assert places == [("header", "A", "Bearer: "), ("cookie", "t", ""), ("query", "q", ""), ("form", "f", "")]
    listed = [{"readPosition": position, "parameterName": name, "prefix": prefix} for position, name, prefix in places]
    assert JwtAuthConfig.model_validate({**JWT, "tokenLookup": listed}).tokenLookup == text


def test_claim_pass_by_text_is_the_list() -> None:
    """The text form of claimPassBy is its list form; fc3's `query::` is accepted."""
    passed = JwtAuthConfig.model_validate({**JWT, "claimPassBy": "header:uid:x-uid, query::"}).claimPassBy
    found = [(entry.mappingParameterPosition, entry.claimName, entry.mappingParameterName) for entry in passed]
    assert found == [("header", "uid", "x-uid"), ("query", "", "")]
    nothings: list[Any] = ["", " ", "query::", "query::adsa", []]
    for nothing in nothings:
        entries = JwtAuthConfig.model_validate({**JWT, "claimPassBy": nothing}).claimPassBy
        assert [entry for entry in entries if entry.claimName] == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tokenLookup", "", "position"),
        ("tokenLookup", [], "at least 1"),
        ("tokenLookup", 5, "list"),
        ("tokenLookup", "Header:A", "'header', 'cookie'"),
        ("tokenLookup", "header:a b", "cannot be the name of a header"),
        ("tokenLookup", "cookie:t:Bearer ", "a cookie has no prefix"),
        ("claimPassBy", "header:sub", "position"),
        ("claimPassBy", "body:sub:x", "'header', 'cookie'"),
        ("claimPassBy", "header:sub:", "cannot be the name of a header"),
        ("claimPassBy", "query:sub:", "cannot be the name of a query"),
        ("claimPassBy", "header:sub:a b", "cannot be the name of a header"),
        ("claimPassBy", "cookie:sub:a=b", "cannot be the name of a cookie"),
        *[
            ("claimPassBy", f"header:sub:{name}", "belongs to the gateway")
            for name in ("host", "Content_Length", "COOKIE", "Sec-WebSocket-Key", "x-fc-account-id", "Upgrade")
        ],
        ("claimPassBy", "header:sub:x-id,header:uid:X_ID", "two claims cannot pass by one header"),
        ("whitelist", ["a"], "write `/a`"),
        ("blacklist", ["/a/*/b"], "only at the end"),
        ("whitelist", "/a", "list"),
        ("jwks", {"keys": []}, "at least 1"),
        ("jwks", "{}", "dictionary"),
    ],
)
def test_jwt_configuration_that_cannot_work_is_refused(key: str, value: object, said: str) -> None:
    """A lookup, a claim's place, a path or a key set that cannot work is refused with what is wrong."""
    with pytest.raises(ValidationError, match=said):
        JwtAuthConfig.model_validate({**JWT, key: value})


def test_lists_exclude_each_other_in_both_spellings() -> None:
    """A whitelist and a blacklist cannot stand together; an empty one does not count."""
    for names in (("whitelist", "blacklist"), ("whiteList", "blackList"), ("whitelist", "blackList")):
        with pytest.raises(ValidationError, match="exclude each other"):
            JwtAuthConfig.model_validate({**JWT, **{name: ["/a"] for name in names}})
    config = JwtAuthConfig.model_validate({**JWT, "whiteList": ["/a"], "blacklist": []})
    assert (config.whitelist, config.blacklist) == (["/a"], [])


def test_other_members_of_a_key_set_are_ignored() -> None:
    """Members of a JWKS that RFC 7517 does not know are no mistake."""
    assert JwtAuthConfig.model_validate({"jwks": {"keys": [{**OCT, "x-more": 1}], "issuer": "me"}}).jwks.keys


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "localhost:0", "[::1]:8080", "0.0.0.0:80"])
def test_listen_takes_host_and_port(listen: str) -> None:
    """`listen` accepts a host and a port."""
    assert Settings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["8080", ":8080", "::1:8080", "localhost", "a b:80", ""])
def test_listen_refuses_less(listen: str) -> None:
    """`listen` refuses what lacks a host or a port."""
    with pytest.raises(ValidationError):
        Settings(listen=listen)


HEADER = {"sessionAffinity": "HEADER_FIELD", "sessionAffinityConfig": {"affinityHeaderFieldName": "x-my-session"}}
COOKIE = {"sessionAffinity": "GENERATED_COOKIE"}


def test_session_affinity_means_concurrency_200() -> None:
    """With sessions `instanceConcurrency` is 200, written or not."""
    for more in ({}, {"instanceConcurrency": 200}):
        assert Function.model_validate({"functionName": "f", **HEADER, **more}).instanceConcurrency == 200
    assert Function.model_validate({"functionName": "f"}).instanceConcurrency == 1


@pytest.mark.parametrize(
    ("props", "said"),
    [
        ({**HEADER, "instanceConcurrency": 10}, "ConcurrencyLimit is invalid for session function, allowed: 200"),
        ({"sessionAffinity": "HEADER_FIELD"}, "needs `sessionAffinityConfig: {affinityHeaderFieldName"),
        ({"sessionAffinityConfig": {}}, "no sessions without `sessionAffinity`"),
        ({"sessionAffinity": "STICKY"}, "HEADER_FIELD"),
        ({**COOKIE, "sessionAffinityConfig": {"affinityHeaderFieldName": "x-abcde"}}, "belongs to HEADER_FIELD, not"),
        ({**COOKIE, "sessionAffinityConfig": {"sseEndpointPath": "/x"}}, "belongs to MCP_SSE, not"),
        ({"sessionAffinity": "MCP_SSE", "sessionAffinityConfig": {"sessionTTLInSeconds": 5}}, "belongs to HEADER"),
        (
            {**COOKIE, "sessionAffinityConfig": {"sessionTTLInSeconds": 60, "sessionIdleTimeoutInSeconds": 61}},
            r"at most sessionTTLInSeconds \(60\)",
        ),
        ({**COOKIE, "instanceIsolationMode": "REQUEST_EXCLUSIVE"}, "an instance for each request"),
        ({"instanceIsolationMode": "SESSION_EXCLUSIVE"}, "needs `sessionAffinity`"),
        ({"instanceIsolationMode": "REQUEST_EXCLUSIVE", "instanceConcurrency": 2}, "an instance for each request"),
        (
            {
                **COOKIE,
                "instanceIsolationMode": "SESSION_EXCLUSIVE",
                "sessionAffinityConfig": {"sessionConcurrencyPerInstance": 2},
            },
            "an instance has one session",
        ),
        *[
            ({**HEADER, "sessionAffinityConfig": {"affinityHeaderFieldName": name}}, "5 to 40 characters")
            for name in ("x-my", "1-session", "x-fc-session", "X-Fc-Session", "a" * 41, "x my session")
        ],
    ],
)
def test_sessions_that_cannot_be_are_refused(props: dict[str, Any], said: str) -> None:
    """What does not go together of affinity, isolation and concurrency is refused with what to write."""
    with pytest.raises(ValidationError, match=said):
        Function.model_validate({"functionName": "f", **props})


def test_exclusive_session_has_an_instance_for_itself() -> None:
    """SESSION_EXCLUSIVE means one session in an instance."""
    function = Function.model_validate({"functionName": "f", **COOKIE, "instanceIsolationMode": "SESSION_EXCLUSIVE"})
    assert function.affinity is not None
    assert function.affinity.sessionConcurrencyPerInstance == 1


def test_idle_time_that_is_not_written_is_within_the_life() -> None:
    """A short life of a session shortens the default idle time with it."""
    config = {"sessionTTLInSeconds": 60}
    function = Function.model_validate({"functionName": "f", **COOKIE, "sessionAffinityConfig": config})
    assert function.affinity is not None
    assert function.affinity.sessionIdleTimeoutInSeconds == 60


def test_minimum_is_said_in_two_ways() -> None:
    """The minimum of instances is the larger of scalingConfig's and provisionConfig's."""
    props = {"scalingConfig": {"minInstances": 1, "horizontalScalingPolicies": []}, "provisionConfig": {"target": 2}}
    assert Function.model_validate({"functionName": "f", **props}).minimum == 2
    assert Function.model_validate({"functionName": "f", "provisionConfig": {"defaultTarget": 3}}).minimum == 3
    assert Function(functionName="f").minimum == 0
