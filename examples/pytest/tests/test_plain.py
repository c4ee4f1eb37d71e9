"""Tests without a loop of their own."""

from concurrent.futures import ThreadPoolExecutor

import pytest


def test_answers(fc):
    """The function answers a request."""
    answer = fc.request("GET", "/rooms")
    assert answer.status == 200
    assert answer.json() == {}


def test_refused_before_the_function(fc):
    """The trigger allows GET alone; what it refuses is neither run nor billed."""
    answer = fc.request("POST", "/rooms")
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert "add POST to `methods`" in fc.invocations[0].remedy
    assert fc.billing["rooms"].milliseconds == 0


def test_job_that_takes_too_long(fc):
    """A job that takes longer than the timeout of 30 s is answered for by the gateway."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(fc.request, "GET", "/slow")
        fc.wait_for("working")
        fc.clock.advance(seconds=30)
        assert answer.result().code == "FunctionTimeoutError"
    assert fc.logs == ["working"]
    assert fc.billing["rooms"].milliseconds >= 30_000


@pytest.mark.fc(timeout=300, triggerConfig={"methods": ["GET", "POST"]})
def test_other_configuration(fc):
    """A test can have other values for keys of trigger.yaml."""
    assert fc.request("POST", "/rooms").status == 405  # by the function itself
    assert fc.account.functions[0].timeout == 300


def test_idle_instance_is_released(fc):
    """Who does nothing for long is gone; the next request starts another instance."""
    fc.request("GET", "/rooms")
    (before,) = fc.instances
    fc.clock.advance(minutes=15)
    assert fc.instances == []
    fc.request("GET", "/rooms")
    assert fc.invocations[-1].cold_start
    assert fc.instances[0].id != before.id
