"""Outcomes on a terminal, as JUnit XML, and in GitHub Actions."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from fcemu import outcomes
from fcemu.outcomes import Outcome

PASSED = Outcome("chat", "http", "request", "the function answers", "passed", "the function answered 200", seconds=0.25)
FAILED = Outcome(
    "chat",
    "http",
    "method PUT",
    "403 AccessDenied",
    "failed",
    "got 200\nreason: x",
    "add PUT",
    0.5,
    "a/trigger.yaml",
    7,
)
SKIPPED = Outcome("api", "", "echo", "it comes back", "skipped", "no socket")
OURS = Outcome("", "", "unknown function", "404 FunctionNotFound", "passed")
ALL = [PASSED, FAILED, SKIPPED, OURS]


def test_table_has_a_line_each_then_the_failures_in_full() -> None:
    """The table has every outcome; the failures, the skipped checks and the counts follow it."""
    assert outcomes.as_table(ALL).splitlines() == [
        "FUNCTION  TRIGGER  CHECK             EXPECTED              OUTCOME",
        "chat      http     request           the function answers  passed: the function answered 200",
        "chat      http     method PUT        403 AccessDenied      failed",
        "api       -        echo              it comes back         skipped",
        "-         -        unknown function  404 FunctionNotFound  passed",
        "",
        "failed: chat http: method PUT",
        "  got 200",
        "  reason: x",
        "  remedy: add PUT",
        "skipped: api: echo",
        "  no socket",
        "2 passed, 1 failed, 1 skipped in 0.8 s",
    ]


def test_summary_leaves_out_what_there_is_none_of() -> None:
    """The counts omit zeros; without any check, the summary says so."""
    assert outcomes.summary([PASSED]) == "1 passed in 0.2 s"
    assert outcomes.summary([]) == "nothing was checked in 0.0 s"


def test_table_cannot_be_forged() -> None:
    """Control characters of a detail do not reach the terminal."""
    text = outcomes.as_table([Outcome("f", "t", "n", "e", "failed", "\x1b[2Jgone\r", "\x07")])
    assert "  \\x1b[2Jgone\n" in text
    assert "  remedy: \\x07\n" in text


def test_junit_has_a_suite_for_each_group() -> None:
    """The JUnit document has suites with counts, and cases with class, name, time, place and failure."""
    root = ElementTree.fromstring(outcomes.as_junit(ALL, "fcemu smoke", 0.0))
    assert root.tag == "testsuites"
    assert root.attrib == {
        "name": "fcemu smoke", "tests": "4", "failures": "1", "errors": "0", "skipped": "1", "time": "0.750"
    }  # fmt: skip
    suites = {suite.attrib["name"]: suite for suite in root}
    assert list(suites) == ["fcemu smoke", "api", "chat"]
    chat = suites["chat"]
    assert (chat.tag, chat.attrib["tests"], chat.attrib["failures"]) == ("testsuite", "2", "1")
    assert chat.attrib["timestamp"] == "1970-01-01T00:00:00"
    passed, failed = chat
    assert passed.attrib == {"classname": "fcemu smoke.chat.http", "name": "request", "time": "0.250"}
    assert [(child.tag, child.text) for child in passed] == [("system-out", "the function answered 200")]
    assert (failed.attrib["file"], failed.attrib["line"]) == ("a/trigger.yaml", "7")
    (failure,) = failed
    assert failure.attrib == {"type": "failed", "message": "got 200"}
    assert failure.text == "got 200\nreason: x\nexpected: 403 AccessDenied\nremedy: add PUT"
    ((skipped,),) = suites["api"]
    assert (skipped.tag, skipped.attrib) == ("skipped", {"message": "no socket"})


@given(st.text(alphabet=st.characters(exclude_categories=())), st.sampled_from(["passed", "failed", "skipped"]))
def test_junit_holds_any_text(text: str, status: outcomes.Status) -> None:
    """The document is valid UTF-8 XML whatever text it has, even with control characters and lone surrogates."""
    document = outcomes.as_junit([Outcome(text, text, text, text, status, text, text, file=text)], text, 0.0)
    ElementTree.fromstring(document.encode())


def test_annotations_name_file_and_line_of_what_failed() -> None:
    """A failure is a workflow command with file, line and title, and its text is escaped."""
    assert outcomes.as_annotations(ALL) == [
        "::error file=a/trigger.yaml,line=7,title=chat http%3A method PUT::"
        "got 200%0Areason: x%0Aexpected: 403 AccessDenied%0Aremedy: add PUT"
    ]


@given(st.text(), st.text())
def test_annotation_stays_one_command(title: str, text: str) -> None:
    """No text can end an annotation, or start another annotation or property."""
    command = outcomes.annotation("trigger.yaml", 0, "x" + title, text)
    assert len(command.splitlines()) == 1
    assert re.fullmatch(r"::error file=trigger\.yaml,title=[^:,]*::.*", command)


def test_summary_page_is_a_table() -> None:
    """The summary page has a heading, the counts and a row per outcome; markup in a text is escaped."""
    risky = Outcome("a|b", "<img>", "_n_", "`e`", "failed", "one\ntwo|three", "*r*")
    lines = outcomes.as_markdown([PASSED, risky], "fcemu smoke trigger.yaml").splitlines()
    assert lines == [
        "### fcemu smoke trigger.yaml",
        "",
        "1 passed, 1 failed in 0.2 s",
        "",
        "| Function | Trigger | Check | Expected | Outcome |",
        "| --- | --- | --- | --- | --- |",
        "| chat | http | request | the function answers | ✅ passed: the function answered 200 |",
        r"| a\|b | &lt;img> | \_n\_ | \`e\` | ❌ one<br>two\|three<br>expected: \`e\`<br>remedy: \*r\* |",
    ]
