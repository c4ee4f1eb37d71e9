"""The lines of functions, triggers and domains in each of the three shapes of a configuration."""

from __future__ import annotations

from fcemu.configuration.source_lines import SourceLines

ONE = """\
functionName: echo
runtime: custom.debian12
triggers:
  - triggerName: prod
    qualifier: prod
    triggerConfig: {methods: [GET]}
  - triggerName: http
    triggerConfig: {methods: [GET]}
customDomains:
  - domainName: app.example.com
    routeConfig: {routes: [{path: /ws, functionName: echo}]}
"""

SEVERAL = """\
functions:
  - runtime: custom.debian12
    functionName: one
    triggers: &both
      - {triggerName: http, triggerConfig: {methods: [GET]}}
  - functionName: Two
    triggers: *both
"""

S_YAML = """\
edition: 3.0.0
vars:
  name: chat
resources:
  room:
    component: fc3
    props:
      functionName: ${vars.name}
      triggers:
        - triggerName: timer
          triggerType: timer
          triggerConfig: {}
        - triggerName: http
          triggerType: http
          triggerConfig: {methods: [GET]}
  domain:
    component: fc3-domain
    props:
      domainName: App.example.com
      routeConfig: {routes: [{path: /*, functionName: chat}]}
"""


def test_lines_of_one_function() -> None:
    """With one function at the top level, its name, its triggers and the domains are found."""
    lines = SourceLines(ONE, {})
    assert lines.line("echo") == 1
    assert lines.line("echo", "prod") == 4
    assert lines.line("echo", "http") == 7
    assert lines.line(domain="app.example.com") == 10


def test_lines_of_several_functions() -> None:
    """In a list, each function is found by its name, in any case, and triggers of an alias at their anchor."""
    lines = SourceLines(SEVERAL, {})
    assert lines.line("one") == 3
    assert lines.line("two") == 6
    assert lines.line("one", "http") == lines.line("two", "http") == 5


def test_lines_of_an_s_yaml() -> None:
    """In an s.yaml the lines of resources are found, despite expressions and triggers of other types."""
    lines = SourceLines(S_YAML, {})
    assert lines.line("chat") == 8
    assert lines.line("chat", "http") == 13
    assert lines.line("", None, "app.example.com") == 19


def test_what_is_not_there_is_on_the_first_line() -> None:
    """An unknown function is on line 1; an unknown trigger is on the line of its function."""
    lines = SourceLines(SEVERAL, {})
    assert lines.line() == lines.line("nobody") == lines.line("nobody", "http") == 1
    assert lines.line(domain="nobody.example.com") == 1
    assert lines.line("two", "nobody") == 6
