"""How an s.yaml becomes an account."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.configuration.serverless_devs import translate
from fcemu.configuration.translation import Translation
from fcemu.model import Account

TRIGGER = {"triggerName": "http", "triggerType": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}


def of(props: dict[str, Any], environment: dict[str, str] | None = None, **document: Any) -> Translation:
    """The translation of an fc3 resource named `web`."""
    props = {"functionName": "f", "triggers": [TRIGGER], **props}
    return translate(
        {"resources": {"web": {"component": "fc3", "props": props}}, **document},
        environment or {},
    )


def of_resources(**resources: Any) -> Translation:
    """The translation of some resources."""
    return translate({"resources": resources}, {})


def texts(translation: Translation) -> list[str]:
    """The texts of the mistakes."""
    return [finding.text for finding in translation.mistakes]


def test_fc3_props_become_a_function() -> None:
    """An fc3 resource's props are a function, whose origin is the resource."""
    translation = of({"timeout": 60})
    assert translation.account["functions"] == [{"functionName": "f", "timeout": 60, "triggers": [TRIGGER]}]
    assert translation.mistakes == translation.ignored == []
    assert translation.origin(("functions", 0, "timeout")) == ("resources", "web", "props", "timeout")
    assert Account.model_validate(translation.account).functions[0].timeout == 60


@pytest.mark.parametrize("component", ["fc3", "fc3@0.0.30", "devsapp/fc3", "devsapp/fc3@dev"])
def test_component_versions_are_fc3(component: str) -> None:
    """A component with a namespace or a version is fc3, too."""
    translation = of_resources(web={"component": component, "props": {"functionName": "f", "triggers": [TRIGGER]}})
    assert len(translation.account["functions"]) == 1


def test_fc_component_is_refused() -> None:
    """The FC 2.0 component is a mistake whose message says to use fc3."""
    translation = of_resources(old={"component": "fc", "props": {}})
    (finding,) = translation.mistakes
    assert finding.path == ("resources", "old", "component")
    assert "component: fc3" in finding.text


def test_other_components_are_ignored() -> None:
    """A component without HTTP triggers is left out."""
    bucket = {"component": "oss", "props": {}}
    web = {"component": "fc3", "props": {"functionName": "f"}}
    translation = of_resources(bucket=bucket, web=web)
    assert [finding.path for finding in translation.ignored] == [("resources", "bucket")]
    assert translation.mistakes == []


def test_no_function_is_a_problem() -> None:
    """An s.yaml without a web function cannot be served."""
    assert texts(of_resources(bucket={"component": "oss"})) == [
        "expected at least one web function; write a resource with `component: fc3`"
    ]


@pytest.mark.parametrize(
    "resources",
    [None, [], "web", {"web": None}, {"web": {}}, {"web": {"component": 3}}, {"web": {"component": "fc3"}}],
)
def test_wrong_structure_is_a_problem(resources: object) -> None:
    """A malformed s.yaml is a mistake, not an exception."""
    assert len(translate({"resources": resources}, {}).mistakes) == 1


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${vars.region}", "cn-beijing"),
        ("x-${vars.region}-${vars.number}", "x-cn-beijing-60"),
        ("${vars.number}", 60),
        ("${vars.flag}", True),
        ("is-${vars.flag}", "is-true"),
        ("${vars.list}", ["a", "cn-beijing"]),
        ("${vars.list[1]}", "cn-beijing"),
        ("${vars['region']}", "cn-beijing"),
        ("${ vars.region }", "cn-beijing"),
        ("${vars.indirect}", "cn-beijing"),
        ("${env('SET')}", "value"),
        ('${env("SET")}', "value"),
        ("${env('NUMBER')}", 9),
        ("${env('RATE')}", 0.5),
        ("${env('FLAG')}", True),
        ("${env('ZERO')}", "007"),
        ("${env('UNSET', 'default')}", "default"),
        ("${env('UNSET', '')}", ""),
        ("${env('UNSET', 60)}", 60),
        ("${env('SET', 'default')}", "value"),
        ("${env('UNSET', '}')}", "}"),
        ("${this.props.functionName}", "f"),
        ("${this.component}", "fc3"),
        ("${resources.web.props.functionName}-2", "f-2"),
        ("${resources.web.props.triggers[0].triggerName}", "http"),
        ("${config('AccountID')}", "123456789012"),
        ("$HOME", "$HOME"),
    ],
)
def test_expressions(written: str, value: object) -> None:
    """An expression that is alone keeps the type of its value; within a longer string it is text."""
    variables = {
        "region": "cn-beijing",
        "number": 60,
        "flag": True,
        "list": ["a", "${vars.region}"],
        "indirect": "${vars.region}",
    }
    environment = {"SET": "value", "NUMBER": "9", "RATE": "0.5", "FLAG": "true", "ZERO": "007"}
    translation = of({"description": written}, environment, vars=variables)
    assert texts(translation) == []
    found = translation.account["functions"][0]["description"]
    assert (found, type(found)) == (value, type(value))


def test_this_is_where_the_expression_stands() -> None:
    """`this` in a value that another resource refers to is the resource that contains it."""
    one = {"component": "fc3", "props": {"functionName": "one", "description": "${resources.two.props.description}"}}
    two = {"component": "fc3", "props": {"functionName": "two", "description": "I am ${this.props.functionName}"}}
    functions = of_resources(one=one, two=two).account["functions"]
    assert [function["description"] for function in functions] == ["I am two", "I am two"]


def test_environment_variables_stay_text() -> None:
    """In environmentVariables, a value from the environment stays a string."""
    translation = of({"environmentVariables": {"FLAG": "${env('FLAG')}"}}, {"FLAG": "true"})
    assert translation.account["functions"][0]["environmentVariables"] == {"FLAG": "true"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("${vars.nowhere}", "`${vars.nowhere}` cannot be evaluated"),
        ("${env('UNSET')}", "UNSET is not set"),
        ("${file('x')}", "`${file('x')}` is not supported"),
        ("${1 + 1}", "`${1 + 1}` is not supported"),
        ("${config('AccessKeyID')}", "`${config('AccessKeyID')}` reads stored credentials"),
        ("${resources.web.output.url}", "only after a deployment"),
        ("${vars.loop}", "refers to itself"),
        ("a ${vars.mapping}", "not a mapping or a list"),
    ],
)
def test_expressions_without_a_value_are_problems(written: str, said: str) -> None:
    """An expression without a value is a mistake that names it, on its line."""
    translation = of({"description": written}, vars={"loop": "${vars.loop}", "mapping": {}})
    (finding,) = translation.mistakes
    assert finding.path == ("resources", "web", "props", "description")
    assert said in finding.text


def test_expressions_in_keys_without_effect_do_not_matter() -> None:
    """A key without a local effect is left out if only the cloud knows its value."""
    translation = of({"role": "${resources.role.output.arn}", "logConfig": {"project": "${vars.p}"}}, vars={"p": "x"})
    assert translation.mistakes == []
    assert [finding.path[-1] for finding in translation.ignored] == ["role"]
    assert translation.account["functions"][0]["logConfig"] == {"project": "x"}


def test_props_of_the_tool_are_ignored() -> None:
    """A prop that only the tool uses is left out; an unknown one is left for the models to refuse."""
    translation = of({"tracingConfig": {}, "timeuot": 3})
    assert [finding.path[-1] for finding in translation.ignored] == ["tracingConfig"]
    assert "timeuot" in translation.account["functions"][0]


def test_trigger_keys_of_the_tool_are_ignored() -> None:
    """A trigger's role and source have no effect and are left out."""
    translation = of({"triggers": [{**TRIGGER, "invocationRole": "x", "sourceArn": "y"}]})
    assert translation.account["functions"][0]["triggers"] == [TRIGGER]


@pytest.mark.parametrize("triggers", [None, [], [{"triggerName": "t", "triggerType": "timer"}]])
def test_event_functions_are_ignored(triggers: object) -> None:
    """A function of a built-in runtime that nothing calls over HTTP is left out."""
    event = {"component": "fc3", "props": {"functionName": "e", "runtime": "python3.10", "triggers": triggers}}
    web = {"component": "fc3", "props": {"functionName": "f", "runtime": "custom.debian12"}}
    translation = of_resources(event=event, web=web)
    assert [function["functionName"] for function in translation.account["functions"]] == ["f"]
    assert [finding.path for finding in translation.ignored] == [("resources", "event", "props", "runtime")]


def test_custom_domain_prop_becomes_a_domain() -> None:
    """A function's customDomain is a domain with one route to the function, each key with its origin."""
    route = {"path": "/ws/*", "qualifier": "prod", "methods": ["GET"], "rewriteConfig": {"equalRules": []}}
    auth = {"authType": "jwt", "authInfo": {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}}
    written = {"domainName": "a.com", "protocol": "HTTP,HTTPS", "authConfig": auth, "route": route}
    translation = of({"customDomain": written})
    (domain,) = Account.model_validate(translation.account).customDomains
    assert (domain.domainName, domain.protocol, domain.authConfig.authType) == ("a.com", "HTTP,HTTPS", "jwt")
    (config,) = domain.routeConfig.routes
    assert (config.path, config.functionName, config.qualifier) == ("/ws/*", "f", "prod")
    props = ("resources", "web", "props")
    new = ("customDomains", 0, "routeConfig", "routes", 0)
    assert translation.origin((*new, "path")) == (*props, "customDomain", "route", "path")
    assert translation.origin((*new, "functionName")) == (*props, "functionName")
    assert translation.origin(("customDomains", 0, "protocol")) == (*props, "customDomain", "protocol")
    assert translation.origin(("customDomains", 0, "routeConfig")) == (*props, "customDomain", "route")


def test_automatic_domain_is_skipped() -> None:
    """A domain with a generated name is left out."""
    translation = of({"customDomain": {"domainName": "auto", "protocol": "HTTP", "route": {"path": "/*"}}})
    assert "customDomains" not in translation.account
    assert [finding.path[-1] for finding in translation.ignored] == ["domainName"]


def test_functions_share_a_domain() -> None:
    """The routes of two functions under one domain name become the routes of one domain."""

    def web(name: str, path: str) -> dict[str, Any]:
        domain = {"domainName": "a.com", "route": {"path": path}}
        return {"component": "fc3", "props": {"functionName": name, "customDomain": domain}}

    translation = of_resources(one=web("one", "/one/*"), two=web("two", "/two/*"))
    (domain,) = Account.model_validate(translation.account).customDomains
    assert [(route.path, route.functionName) for route in domain.routeConfig.routes] == [
        ("/one/*", "one"),
        ("/two/*", "two"),
    ]
    second = translation.origin(("customDomains", 0, "routeConfig", "routes", 1, "path"))
    assert second == ("resources", "two", "props", "customDomain", "route", "path")


def test_fc3_domain_becomes_a_domain() -> None:
    """An fc3-domain resource is a domain, without its region."""
    routes = [{"path": "/*", "functionName": "${resources.web.props.functionName}"}]
    props = {"region": "cn-hangzhou", "domainName": "a.com", "protocol": "HTTP", "routeConfig": {"routes": routes}}
    translation = of_resources(
        web={"component": "fc3", "props": {"functionName": "f"}},
        domain={"component": "fc3-domain", "props": props},
    )
    (domain,) = Account.model_validate(translation.account).customDomains
    assert domain.routeConfig.routes[0].functionName == "f"
    assert translation.origin(("customDomains", 0, "protocol")) == ("resources", "domain", "props", "protocol")


def test_account_keys_stand_beside_resources() -> None:
    """Keys of the account are read next to `resources`; its domains come before those of the resources."""
    own = {"domainName": "own.com", "routeConfig": {"routes": []}}
    props = {"customDomain": {"domainName": "a.com", "route": {"path": "/*"}}}
    translation = of(props, accountId="42", customDomains=[own], fcemu={"start": "lazy"}, edition="3.0.0")
    account = Account.model_validate(translation.account)
    assert (account.accountId, account.fcemu.start) == ("42", "lazy")
    assert [domain.domainName for domain in account.customDomains] == ["own.com", "a.com"]
    assert translation.origin(("customDomains", 0, "domainName")) == ("customDomains", 0, "domainName")


def test_unknown_top_level_keys_are_ignored() -> None:
    """An unknown top-level key is left out and reported."""
    assert [finding.path for finding in of({}, fcmeu={}).ignored] == [("fcmeu",)]


def test_extends_are_problems() -> None:
    """`extend` is not supported, and is reported as a mistake."""
    assert [finding.path for finding in of({}, extend="base.yaml").mistakes] == [("extend",)]
    resource = {"component": "fc3", "extend": {"name": "base"}, "props": {}}
    assert [finding.path for finding in of_resources(web=resource).mistakes] == [("resources", "web", "extend")]


def test_document_is_left_alone() -> None:
    """The translation does not change the document."""
    props: dict[str, Any] = {
        "functionName": "f",
        "triggers": [{**TRIGGER, "sourceArn": "x"}],
        "customDomain": {"domainName": "a.com", "route": {"path": "/*"}},
    }
    document = {"resources": {"web": {"component": "fc3", "props": props}}}
    before = repr(document)
    translate(document, {})
    assert repr(document) == before


def test_domain_of_a_function_must_be_a_mapping() -> None:
    """A malformed `customDomain` is a mistake on its line."""
    (finding,) = of({"customDomain": "ws.example.com"}).mistakes
    assert finding.path == ("resources", "web", "props", "customDomain")


def test_domain_without_a_route_keeps_its_place() -> None:
    """A `customDomain` without a route is passed on, and its origin is where it is written."""
    translation = of({"customDomain": {"domainName": "ws.example.com"}})
    assert translation.account["customDomains"] == [{"domainName": "ws.example.com"}]
    assert translation.origin(("customDomains", 0)) == ("resources", "web", "props", "customDomain")


def test_route_of_another_form_is_left_to_the_models() -> None:
    """A route that is no mapping is passed on as it is."""
    (domain,) = of({"customDomain": {"domainName": "a.test", "route": "/x"}}).account["customDomains"]
    assert domain["routeConfig"] == {"routes": ["/x"]}


def test_automatic_domain_of_a_resource_is_ignored() -> None:
    """An fc3-domain with a generated name is left out."""
    translation = of_resources(
        web={"component": "fc3", "props": {"functionName": "f", "triggers": [TRIGGER]}},
        domain={"component": "fc3-domain", "props": {"domainName": "auto", "routeConfig": {"routes": []}}},
    )
    assert "customDomains" not in translation.account
    assert [finding.path for finding in translation.ignored] == [("resources", "domain", "props", "domainName")]


def test_domain_of_another_form_is_no_other_functions_domain() -> None:
    """Routes are merged only if both definitions of a domain have a list of routes."""
    web = {
        "functionName": "f",
        "triggers": [TRIGGER],
        "customDomain": {"domainName": "a.test", "route": {"path": "/*"}},
    }
    props = {"domainName": "a.test", "routeConfig": {}}
    translation = of_resources(
        domain={"component": "fc3-domain", "props": props}, web={"component": "fc3", "props": web}
    )
    assert len(translation.account["customDomains"]) == 2


@pytest.mark.parametrize("props", [{"triggers": "none"}, {"customDomain": {"domainName": "a.test"}}])
def test_function_that_may_be_reached_is_kept(props: dict[str, Any]) -> None:
    """A function of a built-in runtime is kept if a domain or an unreadable trigger may lead to it."""
    translation = of_resources(
        web={"component": "fc3", "props": {"functionName": "f", "runtime": "python3.10", **props}}
    )
    assert len(translation.account["functions"]) == 1


def test_lists_from_the_environment_are_read_inside_too() -> None:
    """A number that an expression gives inside a list is a number."""
    translation = of({"layers": ["${env('N')}", "x"]}, {"N": "3"})
    assert translation.account["functions"][0]["layers"] == [3, "x"]
