"""Tests without an event loop."""

from concurrent.futures import ThreadPoolExecutor

import pytest


def test_answers(fc):
    """The function answers a request."""
    answer = fc.request("GET", "/rooms")
    assert answer.status == 200
    assert answer.json() == {}


def test_refused_before_the_function(fc):
    """The trigger allows only GET; a request that it refuses neither runs nor is billed."""
    answer = fc.request("POST", "/rooms")
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert "add POST to `methods`" in fc.invocations[0].remedy
    assert fc.billing["rooms"].milliseconds == 0


def test_job_that_takes_too_long(fc):
    """If a job takes longer than the timeout of 30 s, the gateway answers with an error."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(fc.request, "GET", "/slow")
        fc.wait_for("working")
        fc.clock.advance(seconds=30)
        assert answer.result().code == "FunctionTimeoutError"
    assert fc.logs == ["working"]
    assert fc.billing["rooms"].milliseconds >= 30_000


@pytest.mark.fc(timeout=300, triggerConfig={"methods": ["GET", "POST"]})
def test_other_configuration(fc):
    """A test can change keys of trigger.yaml."""
    assert fc.request("POST", "/rooms").status == 405  # by the function itself
    assert fc.account.functions[0].timeout == 300


def test_idle_instance_is_released(fc):
    """An instance that is idle for long is released; the next request starts another one."""
    fc.request("GET", "/rooms")
    (before,) = fc.instances
    fc.clock.advance(minutes=15)
    assert fc.instances == []
    fc.request("GET", "/rooms")
    assert fc.invocations[-1].cold_start
    assert fc.instances[0].id != before.id
