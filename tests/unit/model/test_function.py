"""Defaults, accepted values and refused values of a function."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fcemu.model import (
    Function,
    HttpTrigger,
)
from tests.unit.model.builders import findings, function, trigger


def test_defaults_are_the_clouds() -> None:
    """A limit that is not set has the API's default."""
    plain = function()
    assert (plain.timeout, plain.memorySize, plain.instanceConcurrency) == (3, 512, 1)
    assert plain.customRuntimeConfig.port == 9000
    assert HttpTrigger.model_validate(trigger()).triggerType == "http"


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
    """A number as the value of a variable becomes a string."""
    assert function(environmentVariables={"PORT": 80, "RATE": 0.5}).environmentVariables == {
        "PORT": "80",
        "RATE": "0.5",
    }


def test_environment_refuses_truth_values() -> None:
    """A boolean as the value of a variable is refused, because its spelling would be a guess."""
    with pytest.raises(ValidationError):
        function(environmentVariables={"DEBUG": True})


def test_reserved_and_odd_variable_names_are_all_found() -> None:
    """Each invalid variable name is a finding with its path."""
    with pytest.raises(ValidationError) as error:
        function(environmentVariables={"FC_A": "", "OK": "", "1X": "", "FC_B": ""})
    assert [finding.path for finding in findings(error)] == [("FC_A",), ("1X",), ("FC_B",)]
    assert "The environment variable name 'FC_A' is reserved by Function Compute" in str(error.value)


def test_environment_size_counts_bytes() -> None:
    """All variables together may have 4096 bytes of UTF-8, including their names."""
    function(environmentVariables={"N": "x" * 4095})
    with pytest.raises(ValidationError, match="4097 bytes"):
        function(environmentVariables={"N": "é" * 2048})


def test_one_trigger_per_qualifier() -> None:
    """Two triggers of one qualifier are refused; of two qualifiers, accepted."""
    assert len(function(triggers=[trigger("a"), trigger("b", "prod")]).triggers) == 2
    with pytest.raises(ValidationError) as error:
        function(triggers=[trigger("a"), trigger("b", "prod"), trigger("c"), trigger("d", "prod")])
    assert [finding.path for finding in findings(error)] == [("triggers", 2), ("triggers", 3)]


HEADER = {"sessionAffinity": "HEADER_FIELD", "sessionAffinityConfig": {"affinityHeaderFieldName": "x-my-session"}}
COOKIE = {"sessionAffinity": "GENERATED_COOKIE"}


def test_session_affinity_means_concurrency_200() -> None:
    """With sessions, `instanceConcurrency` is 200, whether it is set or not."""
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
        ({**COOKIE, "sessionAffinityConfig": {"affinityHeaderFieldName": "x-abcde"}}, "applies to HEADER_FIELD, not"),
        ({**COOKIE, "sessionAffinityConfig": {"sseEndpointPath": "/x"}}, "applies to MCP_SSE, not"),
        ({"sessionAffinity": "MCP_SSE", "sessionAffinityConfig": {"sessionTTLInSeconds": 5}}, "applies to HEADER"),
        (
            {**COOKIE, "sessionAffinityConfig": {"sessionTTLInSeconds": 60, "sessionIdleTimeoutInSeconds": 61}},
            r"at most sessionTTLInSeconds \(60\)",
        ),
        ({**COOKIE, "instanceIsolationMode": "REQUEST_EXCLUSIVE"}, "REQUEST_EXCLUSIVE needs `instanceConcurrency: 1`"),
        ({"instanceIsolationMode": "SESSION_EXCLUSIVE"}, "needs `sessionAffinity`"),
        (
            {"instanceIsolationMode": "REQUEST_EXCLUSIVE", "instanceConcurrency": 2},
            "REQUEST_EXCLUSIVE needs `instanceConcurrency: 1`",
        ),
        (
            {
                **COOKIE,
                "instanceIsolationMode": "SESSION_EXCLUSIVE",
                "sessionAffinityConfig": {"sessionConcurrencyPerInstance": 2},
            },
            "an instance serves one session",
        ),
        *[
            ({**HEADER, "sessionAffinityConfig": {"affinityHeaderFieldName": name}}, "5 to 40 characters")
            for name in ("x-my", "1-session", "x-fc-session", "X-Fc-Session", "a" * 41, "x my session")
        ],
    ],
)
def test_sessions_that_cannot_be_are_refused(props: dict[str, Any], said: str) -> None:
    """Affinity, isolation and concurrency that contradict each other are refused, with what to write."""
    with pytest.raises(ValidationError, match=said):
        Function.model_validate({"functionName": "f", **props})


def test_exclusive_session_has_an_instance_for_itself() -> None:
    """SESSION_EXCLUSIVE means one session per instance."""
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
    """The minimum of instances is the larger of scalingConfig and provisionConfig."""
    props = {"scalingConfig": {"minInstances": 1, "horizontalScalingPolicies": []}, "provisionConfig": {"target": 2}}
    assert Function.model_validate({"functionName": "f", **props}).minimum == 2
    assert Function.model_validate({"functionName": "f", "provisionConfig": {"defaultTarget": 3}}).minimum == 3
    assert Function(functionName="f").minimum == 0


def test_function_without_affinity_has_no_sessions() -> None:
    """`affinity` is None without `sessionAffinity`, and otherwise has the defaults of keys that are not set."""
    assert function().affinity is None
    found = function(sessionAffinity="GENERATED_COOKIE").affinity
    assert found is not None
    assert found.sessionConcurrencyPerInstance > 1


def test_exclusive_session_may_write_its_one_session() -> None:
    """With SESSION_EXCLUSIVE, `sessionConcurrencyPerInstance: 1` is allowed."""
    config = {"sessionConcurrencyPerInstance": 1}
    props = {"sessionAffinity": "GENERATED_COOKIE", "instanceIsolationMode": "SESSION_EXCLUSIVE"}
    found = function(**props, sessionAffinityConfig=config).affinity
    assert found is not None
    assert found.sessionConcurrencyPerInstance == 1
