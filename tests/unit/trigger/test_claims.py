"""Claims are passed to the function, and a client cannot smuggle its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcemu.errors import FCError
from fcemu.model import ClaimPassBy
from fcemu.trigger.claims import ClaimPasser, cookie_value, header_key, header_value, is_form, parameter_value
from fcemu.trigger.request import RequestHead

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
NAMES = {"header": "x-uid", "cookie": "uid", "query": "uid", "form": "uid"}


def passer(*positions: str, name: str = "") -> ClaimPasser:
    """A passer of the claim `sub` by a parameter `uid` (`x-uid`) in these positions."""
    entries = [
        {"claimName": "sub", "mappingParameterName": name or NAMES[position], "mappingParameterPosition": position}
        for position in positions
    ]
    return ClaimPasser([ClaimPassBy.model_validate(entry) for entry in entries])


def apply(
    position: str, *headers: tuple[bytes, bytes], target: str = "/", method: str = "POST", body: bytes | None = None,
    sub: Any = "alice",
) -> tuple[RequestHead, bytes | None]:  # fmt: skip
    """Pass the claim by one position; None is a token without it."""
    claims = {} if sub is None else {"sub": sub}
    return passer(position).apply(RequestHead(method, target, headers), body, claims)


def test_without_entries_nothing_changes() -> None:
    """A configuration that passes nothing leaves every request as it is."""
    nothing = ClaimPasser([ClaimPassBy(claimName="", mappingParameterName="a", mappingParameterPosition="query")])
    head = RequestHead("GET", "/?a=1", ())
    assert nothing.apply(head, b"x", {"": "y"}) == (head, b"x")
    assert not nothing.needs_body


# --- headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"x-uid", b"X-UID", b"X_Uid", b"x_uid", b"x.uid"])
def test_smuggled_header_is_removed(name: bytes) -> None:
    """A header of the name is removed in any case, and with any character that a server reads as `-`."""
    others = ((b"Host", b"a"), (b"x-uid2", b"b"), (b"uid", b"c"))
    assert apply("header", (name, b"1"), *others, (name, b"2"))[0].headers == (*others, (b"x-uid", b"alice"))
    assert apply("header", (name, b"1"), *others, sub=None)[0].headers == others


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"close, X-UID", b"close"),
        (b"x_uid", None),
        (b"keep-alive , x-uid,Upgrade", b"keep-alive ,Upgrade"),
        (b"close", b"close"),
    ],
)
def test_connection_cannot_name_our_header(sent: bytes, kept: bytes | None) -> None:
    """A client cannot have our header dropped on the way by naming it in Connection."""
    head, _ = apply("header", (b"Connection", sent))
    assert head.headers == (*(((b"Connection", kept),) if kept else ()), (b"x-uid", b"alice"))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("alice", b"alice"), ("", b""), ("a b", b"a b"), ("Zoë 李", "Zoë 李".encode()), ('"q"', b'"q"'),
        ("a\r\nX-Admin: 1", rb'"a\r\nX-Admin: 1"'), ("a\x00b", rb'"a\u0000b"'), ("\x7f", b'"\x7f"'),
        ("\x85", rb'"\u0085"'), (" a", b'" a"'), ("a\t", rb'"a\t"'), ("\ud800", rb'"\ud800"'), ("\u202e", rb'"\u202e"'),
        (7, b"7"), (1.5, b"1.5"), (True, b"true"), ([1, "é"], rb'[1,"\u00e9"]'), ({"a": "b\n"}, rb'{"a":"b\n"}'),
    ],
)  # fmt: skip
def test_claim_in_a_header(claim: Any, value: bytes) -> None:
    """A printable string is put into a header as it is; other values are JSON, so that no line can be added."""
    assert header_value(claim) == value.replace(b"\x7f", rb"\u007f")
    assert apply("header", sub=claim)[0].headers == ((b"x-uid", header_value(claim)),)


# --- cookies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([b"uid=1"], b""),
        ([b"a=b; uid=1; c=d"], b"; a=b; c=d"),
        ([b"UID=1;a=b", b"c=d; uid = 2"], b"; a=b; c=d"),
        ([b"a=1, uid=2"], b""),
        ([b"a=1 uid=2; b=3"], b"; b=3"),
        ([b"a=1\tuid =2"], b""),
        ([b"%75id=1; uid[]=1; uid; a=b"], b"; a=b"),
        ([b'"uid"=1'], b""),
        ([b'a="x; uid=1"'], b'; a="x'),
        ([b"uid2=1; xuid=2; a=uid"], b"; uid2=1; xuid=2; a=uid"),
        ([b'a="'], b'; a="'),
        ([b""], b""),
        ([], b""),
    ],
)
def test_cookies_are_cleaned_and_ours_comes_first(sent: list[bytes], kept: bytes) -> None:
    """Every cookie that a server may confuse with ours is removed; ours is the first in the only Cookie header."""
    pairs = [(b"cookie", value) for value in sent]
    head, _ = apply("cookie", (b"a", b"1"), *pairs, (b"b", b"2"))
    cookies = [value for name, value in head.headers if name == b"Cookie"]
    assert cookies == [b"uid=alice" + kept]
    assert [name for name, _ in head.headers if name != b"Cookie"] == [b"a", b"b"]
    without, _ = apply("cookie", *pairs, sub=None)
    assert [value for _, value in without.headers] == ([kept.removeprefix(b"; ")] if kept else [])


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("alice@example.com", b"alice@example.com"), ("a;b, c", b"a%3Bb%2C%20c"), ("50%", b"50%25"),
        ("é\n", b"%C3%A9%0A"),
        ("a+b=c", b"a%2Bb%3Dc"), ('"', b"%22"), ("\ud800", b"%EF%BF%BD%EF%BF%BD%EF%BF%BD"),
        ({"a": 1}, b"%7B%22a%22:1%7D"),
    ],
)  # fmt: skip
def test_claim_in_a_cookie(claim: Any, value: bytes) -> None:
    """A claim in a cookie is percent-encoded, so that it cannot end the cookie or the header."""
    assert cookie_value(claim) == value


# --- the query ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("?uid=1", ""),
        ("?a=%41&uid=1&b=+", "a=%41&b=+"),
        ("?uid=1&uid=2&a", "a"),
        ("?a&uid", "a"),
        ("?UID=1&%75%69%64=2&a=1", "a=1"),
        ("?uid[]=1&uid%5B0%5D=2&uid%00x=3&+uid=4&a=1", "a=1"),
        ("?a=1;uid=2;b=3", "a=1;b=3"),
        ("?a=1&&uid=2&", "a=1&&"),
        ("?uid2=1&a=uid&xuid=2", "uid2=1&a=uid&xuid=2"),
        ("?a=%zz&%&=", "a=%zz&%&="),
        ("?", ""),
        ("", ""),
    ],
)
def test_query_is_cleaned_and_ours_comes_first(query: str, kept: str) -> None:
    """Every parameter that a server may confuse with ours is removed; the others keep their bytes."""
    assert apply("query", target=f"/p{query}")[0].target == "/p?uid=alice" + (f"&{kept}" if kept else "")
    without = apply("query", target=f"/p{query}", sub=None)[0].target
    assert without == (f"/p?{kept}" if kept else "/p" + ("?" if query == "?" else ""))


def test_dots_and_blanks_are_underscores_to_some_servers() -> None:
    """PHP reads dots and spaces in a name as `_`, so these spellings are removed, too."""
    head = RequestHead("GET", "/?user.id=1&user+id=2&user_id=3&userid=4", ())
    assert passer("query", name="user_id").apply(head, None, {})[0].target == "/?userid=4"


def test_odd_names_and_values_are_encoded() -> None:
    """A parameter's name and value are percent-encoded in the query."""
    head, _ = passer("query", name="ü[x]&").apply(RequestHead("GET", "/", ()), None, {"sub": "a&b=ç d"})
    assert head.target == "/?%C3%BC%5Bx%5D%26=a%26b%3D%C3%A7%20d"
    assert parameter_value("\n") == b"%0A"


# --- forms --------------------------------------------------------------------------------------------------------


def test_form_is_cleaned_and_its_length_is_right() -> None:
    """A form parameter is removed and set, and Content-Length says how long the body is now."""
    head, body = apply("form", FORM, (b"content-length", b"14"), body=b"uid=1&a=%41+&b")
    assert body == b"uid=alice&a=%41+&b"
    assert head.headers == (FORM, (b"content-length", b"18"))
    head, body = apply("form", FORM, (b"Content-Length", b"5"), body=b"uid=1", sub=None)
    assert (head.content_length, body) == (0, b"")


def test_chunked_form_stays_chunked() -> None:
    """A changed form that came in chunks gets no Content-Length."""
    head, body = apply("form", FORM, (b"Transfer-Encoding", b"chunked"), body=b"a=1")
    assert (head.headers, body) == ((FORM, (b"Transfer-Encoding", b"chunked")), b"uid=alice&a=1")


def test_empty_form_gets_a_body() -> None:
    """A POST of an empty form carries our parameter, with its length."""
    for headers, sent in (((FORM,), b""), ((FORM, (b"Content-Length", b"0")), None)):
        head, body = apply("form", *headers, body=sent)
        assert (head.content_length, body) == (9, b"uid=alice")


def test_unchanged_form_is_the_same() -> None:
    """A form without anything to remove or to set is left as it is."""
    head = RequestHead("POST", "/", (FORM, (b"Content-Length", b"3")))
    assert passer("form").apply(head, b"a=1", {}) == (head, b"a=1")


@pytest.mark.parametrize(("method", "body"), [("PUT", b"a=1"), ("PATCH", b"a=1"), ("DELETE", b"a=1")])
def test_claims_are_set_in_posts_only_and_removed_everywhere(method: str, body: bytes) -> None:
    """Claims are set only in forms of POST; a client's own are removed in every method."""
    assert apply("form", FORM, method=method, body=b"uid=1&" + body)[1] == body


@pytest.mark.parametrize("kind", [b"application/json", b"text/plain", b"application/octet-stream"])
def test_other_bodies_are_not_touched(kind: bytes) -> None:
    """A body that is no form passes as it is, also unread."""
    headers = ((b"Content-Type", kind), (b"Content-Length", b"5"))
    assert apply("form", *headers, body=b"uid=1")[1] == b"uid=1"
    assert apply("form", *headers, body=None)[1] is None


def test_body_without_type_is_cleaned() -> None:
    """A body without Content-Type is a form to some servers, so it is cleaned."""
    assert apply("form", (b"Content-Length", b"9"), body=b"uid=1&a=1", sub=None)[1] == b"a=1"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Type", b"multipart/form-data; boundary=x")],
        [(b"Content-Type", b"multipart/mixed; boundary=x")],
        [(FORM[0], FORM[1] + b"; charset=utf-7")],
        [(FORM[0], FORM[1] + b"; charset=utf-8; charset=utf-16")],
        [FORM, (b"Content-Encoding", b"gzip")],
        [FORM, (b"content_type", b"text/plain")],
        [(b"Content-Type", b"text/plain"), FORM],
    ],
)
def test_form_that_cannot_be_cleaned_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """A form that servers could read differently is refused, because a claim could be hidden in it."""
    with pytest.raises(FCError) as caught:
        apply("form", *headers, (b"Content-Length", b"5"), body=b"uid=1")
    error = caught.value
    assert (error.status, error.code) == (403, "JWTTokenInvalid")
    assert "cannot be cleaned" in error.reason
    assert "claimPassBy" in error.remedy


@pytest.mark.parametrize("headers", [[FORM], [FORM, (b"Content-Length", b"5")], [(b"Transfer-Encoding", b"chunked")]])
def test_form_that_nobody_read_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """A form whose body was not read cannot be cleaned, so it does not pass."""
    with pytest.raises(FCError):
        apply("form", *headers, body=None)


def test_request_without_a_body_has_no_form() -> None:
    """A GET without a body passes."""
    assert apply("form", method="GET")[1] is None
    assert apply("form", FORM, method="GET")[1] is None


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (FORM[1], True), (FORM[1].upper(), True), (FORM[1] + b'; charset="UTF-8"', True),
        (FORM[1] + b";charset=utf-8", True),
        (FORM[1] + b"; charset=utf-16", False), (FORM[1] + b"x", False), (b"text/plain", False), (b"", False),
    ],
)  # fmt: skip
def test_form_is_recognised(kind: bytes, form: bool) -> None:
    """A form is url-encoded in a character set where names cannot hide."""
    assert is_form(RequestHead("POST", "/", ((b"Content-Type", kind),))) is form


def test_names_of_headers_are_compared_as_servers_do() -> None:
    """Case, `-`, `_` and `.` make no difference between header names."""
    assert header_key(b"X_User.ID") == header_key(b"x-user-id") == b"x-user-id"


# --- anything at all ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=50), st.sampled_from(["header", "cookie", "query", "form"]), st.text())
def test_only_our_claim_is_there(sent: bytes, position: str, sub: str) -> None:
    """Whatever a client sends, a server finds only our claim, once."""
    junk = sent.decode("latin-1").replace("#", "").replace("\n", "").replace("\r", "")
    headers = ((b"Cookie", junk.encode("latin-1")), FORM, (b"x-uid", sent))
    head, body = apply(position, *headers, target=f"/?{junk}", body=sent, sub=sub)
    clean = sub.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    match position:
        case "header":
            assert [value for name, value in head.headers if name == b"x-uid"] == [header_value(sub)]
        case "cookie":
            crumbs = (head.header("cookie") or "").split(";")
            found = [value for name, _, value in (c.strip().partition("=") for c in crumbs) if name == "uid"]
            assert [unquote(value) for value in found] == [clean]
        case "query":
            assert [v for k, v in parse_qsl(head.query, keep_blank_values=True) if k == "uid"] == [clean]
        case _:
            assert body is not None
            pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True)
            assert [v for k, v in pairs if k == "uid"] == [clean]
