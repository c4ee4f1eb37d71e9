"""Requests must be signed by a known key, and recently."""

from __future__ import annotations

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fcemu.errors import FCError, Refusal
from fcemu.model import AccessKey
from fcemu.trigger.request import RequestHead
from fcemu.trigger.signature import SCHEMES, WINDOW, Scheme, SignatureAuthenticator, sign, verify

KEY = AccessKey(accessKeyId="LTAI-test", accessKeySecret="a secret")
STS = AccessKey(accessKeyId="STS.test", accessKeySecret="another secret", securityToken="a/token+==")
KEYS = {key.accessKeyId: key for key in (KEY, STS)}
NOW = 1_708_593_689.0
URL = "ws://demo.localhost:8080/room/a%20b?name=x&to=me"


def signed(
    scheme: Scheme, *, method: str = "GET", url: str = URL, key: AccessKey = KEY, headers: dict[str, str] | None = None
) -> RequestHead:
    """A request as a client of this scheme sends it at NOW."""
    result = sign(method, url, key, NOW, scheme=scheme, headers=headers)
    parts = urlsplit(result.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    pairs = {"Host": parts.netloc, **(headers or {}), **dict(result.headers)}
    return RequestHead(method, target, tuple((name.encode(), value.encode()) for name, value in pairs.items()))


def refusal(head: RequestHead, now: float = NOW) -> FCError:
    """Why a request is refused."""
    with pytest.raises(FCError) as caught:
        verify(head, KEYS, now)
    assert caught.value.status in (400, 403)
    assert not caught.value.billed
    return caught.value


def without(head: RequestHead, *names: str) -> RequestHead:
    """The request without some of its headers."""
    kept = tuple(pair for pair in head.headers if pair[0].decode().lower() not in names)
    return RequestHead(head.method, head.target, kept)


def changed(head: RequestHead, name: str, value: bytes) -> RequestHead:
    """The request with another value of one header."""
    pairs = tuple((key, value if key.decode().lower() == name else old) for key, old in head.headers)
    return RequestHead(head.method, head.target, pairs)


@pytest.mark.parametrize("key", [KEY, STS], ids=["ak", "sts"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_sign_makes_verify_accepts(scheme: Scheme, key: AccessKey) -> None:
    """A request signed by `sign` is accepted, with an STS token too, under every scheme."""
    assert verify(signed(scheme, key=key), KEYS, NOW) == key.accessKeyId


@pytest.mark.parametrize("scheme", SCHEMES)
def test_authenticator_passes_the_request_on_unchanged(scheme: Scheme) -> None:
    """The authenticator does not change a signed request."""
    head = signed(scheme)
    assert SignatureAuthenticator(KEYS).authenticate(head, b"body", NOW) == (head, b"body")


@pytest.mark.parametrize("scheme", ["acs3", "fc", "acs"])
@pytest.mark.parametrize(("seconds", "words"), [(WINDOW + 62, "is 16 min 2 s old"), (-WINDOW - 1, "in the future")])
def test_window_is_fifteen_minutes_both_ways(scheme: Scheme, seconds: int, words: str) -> None:
    """A date more than 15 minutes away is refused, in the past and in the future, and the reason says by how much."""
    head = signed(scheme)
    for inside in (WINDOW, -WINDOW):
        verify(head, KEYS, NOW + inside)
    error = refusal(head, NOW + seconds)
    assert error.code == "AccessDenied"
    assert error.message.startswith("the difference between the request time 'Thu, 22 Feb 2024 09:21:29 GMT' and the")
    assert error.message.endswith("is too large")
    assert words in error.reason


def test_presigned_url_is_valid_until_it_expires() -> None:
    """A pre-signed URL is valid for its time and not a second longer."""
    head = signed("presigned")
    verify(head, KEYS, NOW + WINDOW)
    assert "expired 1 s ago" in refusal(head, NOW + WINDOW + 1).reason


def test_unsigned_request_lacks_its_date_first() -> None:
    """Without a date the answer is the documented 400 for Date, without Authorization that for Authorization."""
    head = signed("acs3")
    assert refusal(without(head, "x-acs-date")).message == "required HTTP header Date was not specified"
    assert refusal(without(head, "authorization")).message == "required HTTP header Authorization was not specified"
    assert refusal(RequestHead("GET", "/", ())).code == "MissingRequiredHeader"


def test_unknown_key_is_named() -> None:
    """An unknown key is refused, and its id is named."""
    head = signed("fc", key=AccessKey(accessKeyId="nobody", accessKeySecret="x"))
    error = refusal(head)
    assert (error.code, error.message) == ("InvalidAccessKeyID", "invalid access key ID 'nobody'")


def test_secret_of_another_key_does_not_sign() -> None:
    """A known id with a wrong secret is SignatureNotMatch."""
    for scheme in SCHEMES:
        wrong = AccessKey(accessKeyId=KEY.accessKeyId, accessKeySecret="a guess")
        assert refusal(signed(scheme, key=wrong)).code == "SignatureNotMatch"


def test_date_that_is_not_signed_is_not_believed() -> None:
    """A date outside SignedHeaders could be changed at will, so it is refused."""
    head = signed("acs3")
    authorization = head.header("authorization")
    assert authorization is not None
    forged = authorization.replace("x-acs-date;", "")
    assert "not among the SignedHeaders" in refusal(changed(head, "authorization", forged.encode())).reason


def test_sts_key_needs_its_token() -> None:
    """A temporary key without its token, or with another, is refused."""
    for scheme, name in (
        ("acs3", "x-acs-security-token"),
        ("fc", "x-fc-security-token"),
        ("acs", "x-acs-security-token"),
    ):
        head = signed(scheme, key=STS)  # type: ignore[arg-type]
        assert refusal(without(head, name)).code == "SignatureNotMatch"
        assert refusal(changed(head, name, b"other")).code == "SignatureNotMatch"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer x", "FC", "FC x", "acs :", "ACS3-HMAC-SHA256", "ACS3-HMAC-SHA256 Credential=LTAI-test", "FC a:b:c"],
)
def test_malformed_authorization_is_a_mismatch(authorization: str) -> None:
    """An Authorization header of an unknown scheme is SignatureNotMatch."""
    head = changed(signed("fc"), "authorization", authorization.encode())
    assert refusal(head).code == "SignatureNotMatch"


def test_secrets_are_in_no_message() -> None:
    """Neither the client nor the log gets a secret, a token or a signature."""
    for scheme in SCHEMES:
        head = changed(signed(scheme, key=STS), "x-acs-date", b"x")
        head = RequestHead("PUT", head.target, head.headers)
        error = refusal(head)
        told = error.message + error.reason + error.remedy
        for secret in (STS.accessKeySecret, str(STS.securityToken), str(head.header("authorization"))):
            assert secret not in told


_text = st.text(string.ascii_letters + string.digits + "-._~", min_size=1, max_size=8)
_paths = st.lists(_text, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
_queries = st.dictionaries(_text, _text, max_size=3).map(lambda q: "&".join(f"{k}={v}" for k, v in q.items()))


@given(scheme=st.sampled_from(SCHEMES), path=_paths, query=_queries, data=st.data())
def test_no_mutation_of_a_signed_request_is_accepted(
    scheme: Scheme, path: str, query: str, data: st.DataObject
) -> None:
    """A request is refused if its method, path, query, signed header, key or date differs from the signed one.

    What no official client signs is out of reach: the body, a repeated query parameter, one without a value.
    """
    extra = {"acs3": "x-acs-meta", "fc": "x-fc-meta", "presigned": "x-fc-meta", "acs": "x-acs-meta"}[scheme]
    url = f"http://a.test{path}" + (f"?{query}" if query else "")
    head = signed(scheme, url=url, headers={extra: "value"})
    assert verify(head, KEYS, NOW) == KEY.accessKeyId
    kind = data.draw(st.sampled_from(["method", "path", "query", "header", "key", "date"]))
    target, method, headers = head.target, head.method, head.headers
    names = [part.partition("=")[0] for part in head.query.split("&") if part]
    if kind == "method":
        method = data.draw(st.sampled_from(["POST", "PUT", "get", "GETS"]))
    elif kind == "path":
        other = data.draw(_paths)
        assume(other != path)
        target = other + target[len(path) :]
    elif kind == "query":
        name, value = data.draw(_text), data.draw(_text)
        assume(name not in names)
        target += ("&" if head.query else "?") + f"{name}={value}"
    elif kind == "header":
        headers = changed(head, extra, data.draw(_text.filter(lambda text: text != "value")).encode()).headers
    elif kind == "key":
        other_id = STS.accessKeyId
        target = target.replace(KEY.accessKeyId, other_id)
        headers = tuple((k, v.replace(KEY.accessKeyId.encode(), other_id.encode())) for k, v in headers)
    elif scheme == "presigned":
        target = target.replace(f"x-fc-expires={int(NOW) + WINDOW}", f"x-fc-expires={int(NOW) + WINDOW + 1}")
    else:
        date = {"acs3": b"2024-02-22T09:21:30Z"}.get(scheme, b"Thu, 22 Feb 2024 09:21:30 GMT")
        headers = changed(head, "x-acs-date" if scheme == "acs3" else "date", date).headers
    refusal(RequestHead(method, target, headers))


@given(
    target=st.text(max_size=40),
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"Authorization", b"Date", b"x-acs-date", b"x-fc-security-token", b"x-acs-security-token"])
            | st.binary(max_size=10),
            st.sampled_from([b"FC LTAI-test:eA==", b"acs LTAI-test:eA==", b"Thu, 22 Feb 2024 09:21:29 GMT"])
            | st.binary(max_size=40),
        ),
        max_size=6,
    ),
)
@example(target="/?x-fc-signature=a&x-fc-expires=99999999999&x-fc-access-key-id=LTAI-test", headers=[])
@example(target="/", headers=[(b"Date", b"99, 99 Foo 99999 99:99:99 GMT"), (b"Authorization", b"FC LTAI-test:eA==")])
@example(target="/", headers=[(b"x-acs-date", b"9999-99-99T99:99:99Z"), (b"Authorization", b"ACS3-HMAC-SHA256 x")])
def test_arbitrary_bytes_are_refused_and_nothing_else(target: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever a client sends, the verifier raises a refusal and nothing else."""
    refusal(RequestHead("GET", "/" + target, tuple(headers)))


@pytest.mark.parametrize("scheme", ["fc", "acs"])
def test_scheme_that_signs_the_date_header_needs_it(scheme: Scheme) -> None:
    """`x-acs-date` is no substitute for the Date header that the schemes FC and acs sign."""
    head = without(signed(scheme), "date")
    dated = RequestHead(head.method, head.target, (*head.headers, (b"x-acs-date", b"2024-02-22T09:21:29Z")))
    assert refusal(dated).refusal is Refusal.MISSING_DATE


def test_presigned_url_has_one_signature_and_a_time() -> None:
    """A pre-signed URL with a second signature, or with an expiry that is no time, is refused."""
    head = signed("presigned")
    twice = RequestHead(head.method, f"{head.target}&x-fc-signature=x", head.headers)
    assert "more than once" in refusal(twice).reason
    target = head.target.replace("x-fc-expires=", "x-fc-expires=soon")
    assert "not a time" in refusal(RequestHead(head.method, target, head.headers)).reason


def test_repeated_signed_header_is_signed_sorted_and_joined() -> None:
    """Values of a header that is sent twice are joined in one order, so that their order does not matter."""
    result = sign("GET", URL, KEY, NOW, scheme="acs3", headers={"x-acs-extra": "a,b"})
    pairs = [(b"Host", b"demo.localhost:8080"), (b"x-acs-extra", b"b"), (b"x-acs-extra", b"a")]
    pairs += [(name.encode(), value.encode()) for name, value in result.headers]
    parts = urlsplit(result.url)
    assert verify(RequestHead("GET", f"{parts.path}?{parts.query}", tuple(pairs)), KEYS, NOW) == KEY.accessKeyId
