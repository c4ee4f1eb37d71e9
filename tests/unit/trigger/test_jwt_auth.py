"""JWT authentication: which requests are accepted, which are refused, and what the log says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from fcemu.errors import COMMON, FCError
from fcemu.model import JwtAuthConfig
from fcemu.trigger.jwt_auth import JwtAuthenticator
from fcemu.trigger.request import HeaderPairs, RequestHead

NOW = 1_700_000_000.0
SECRET = b"a shared secret of sixty-four bytes, which is long enough for it"


@cache
def private(kind: str) -> Any:
    """One private key of each kind."""
    match kind:
        case "RSA" | "other":
            return rsa.generate_private_key(65537, 2048)
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "oct":
            return SECRET
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind])


def jwk(kind: str = "RSA", **members: Any) -> dict[str, Any]:
    """The public key of a kind as a JWK, with more members."""
    algorithms: dict[str, Any] = {"RSA": jwt.algorithms.RSAAlgorithm, "Ed25519": jwt.algorithms.OKPAlgorithm}
    if kind == "oct":
        return {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode(), **members}
    algorithm = algorithms.get(kind, jwt.algorithms.ECAlgorithm)
    public: dict[str, Any] = algorithm.to_jwk(private(kind).public_key(), as_dict=True)
    return {**public, **members}


def sign(claims: Any = None, algorithm: str = "RS256", key: str = "RSA", **header: Any) -> str:
    """A token by the private key of a kind."""
    content = json.dumps({"sub": "alice"} if claims is None else claims).encode()
    return jwt.PyJWS().encode(content, private(key), algorithm, {"typ": "JWT", **header})


def part(value: Any) -> str:
    """One part of a token: JSON, or bytes, as base64url."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def forged(header: Any, claims: Any, secret: bytes = SECRET) -> str:
    """A token whose signature is an HMAC-SHA256 by any secret."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def authenticator(*keys: dict[str, Any], **config: Any) -> JwtAuthenticator:
    """An authenticator with these keys; by default the RSA key without kid."""
    return JwtAuthenticator(JwtAuthConfig.model_validate({"jwks": {"keys": list(keys) or [jwk()]}, **config}))


def enter(token: str | None, *keys: dict[str, Any], now: float = NOW, target: str = "/", **config: Any) -> RequestHead:
    """Authenticate a request with a token after `Bearer `."""
    headers: HeaderPairs = ((b"Host", b"x"),)
    if token is not None:
        headers += ((b"Authorization", b"Bearer " + token.encode()),)
    head, body = authenticator(*keys, **config).authenticate(RequestHead("GET", target, headers), None, now)
    assert body is None
    return head


def refusal(token: str | None, *keys: dict[str, Any], **kw: Any) -> str:
    """Why a token is refused; the client gets the documented answer and the log no part of the token."""
    with pytest.raises(FCError) as caught:
        enter(token, *keys, **kw)
    error = caught.value
    assert (error.status, error.billed, error.error_type) == (403, False, COMMON)
    assert (error.code, error.message) == (
        ("JWTTokenInvalid", "invalid or expired jwt")
        if token and error.code != "JWTTokenIsMissing"
        else ("JWTTokenIsMissing", "the jwt token is missing")
    )
    assert error.remedy
    said = error.reason + error.remedy + str(error)
    assert not token or all(piece not in said for piece in token.split(".") if len(piece) > 8)
    assert "alice" not in said
    return error.reason


# --- who may enter ------------------------------------------------------------------------------------------------

ALGORITHMS = [
    *[(f"{family}{size}", "RSA") for family in ("RS", "PS") for size in (256, 384, 512)],
    *[(f"HS{size}", "oct") for size in (256, 384, 512)],
    ("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521"), ("EdDSA", "Ed25519"),
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "kind"), ALGORITHMS)
def test_every_listed_algorithm_is_accepted(algorithm: str, kind: str) -> None:
    """A token of each algorithm on the vendor's list is accepted, with or without `alg` in the JWK."""
    token = sign({"sub": "alice", "exp": NOW + 1}, algorithm, kind)
    enter(token, jwk(kind))
    enter(token, jwk(kind, alg=algorithm))


@pytest.mark.parametrize(("algorithm", "kind"), ALGORITHMS)
def test_changed_payload_is_refused_with_every_algorithm(algorithm: str, kind: str) -> None:
    """A token whose payload or signature was changed is refused."""
    header, payload, signature = sign({"sub": "alice"}, algorithm, kind).split(".")
    assert "did not make" in refusal(f"{header}.{part({'sub': 'mallory'})}.{signature}", jwk(kind))
    assert "did not make" in refusal(f"{header}.{payload}.{part(b'x' * 64)}", jwk(kind))
    assert "did not make" in refusal(f"{header}.{payload}.", jwk(kind))


def test_token_without_times_holds() -> None:
    """A token without exp, nbf and iat is accepted."""
    assert enter(sign()).header("authorization")


@pytest.mark.parametrize(
    ("claims", "now"),
    [
        ({"exp": NOW + 0.5}, NOW),
        ({"exp": int(NOW) + 1, "nbf": NOW, "iat": NOW}, NOW),
        ({"nbf": -1, "iat": 0}, NOW),
        ({"exp": 1e12}, NOW),
    ],
)
def test_token_holds_within_its_times(claims: dict[str, Any], now: float) -> None:
    """A token is accepted from nbf and iat until before exp."""
    enter(sign(claims), now=now)


def test_kid_finds_its_key() -> None:
    """A token with a kid needs the key of that kid; one without needs the key without."""
    keys = (jwk("P-256", kid="a"), jwk("RSA", kid="b"), jwk("oct"))
    enter(sign(kid="b"), *keys)
    enter(sign(None, "ES256", "P-256", kid="a"), *keys)
    enter(sign(None, "HS256", "oct"), *keys)
    enter(sign(None, "HS256", "oct", kid=""), *keys)
    enter(sign(), jwk(kid=""))


# --- who may not --------------------------------------------------------------------------------------------------


def pem() -> bytes:
    """The public RSA key as it is published."""
    return bytes(
        private("RSA")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


ATTACKS: list[tuple[str, Callable[[], str], str]] = [
    ("alg none", lambda: f"{part({'alg': 'none'})}.{part({'sub': 'alice'})}.", 'alg "none"'),
    ("alg None", lambda: f"{part({'alg': 'None'})}.{part({'sub': 'alice'})}.", 'alg "None"'),
    ("no alg", lambda: f"{part({})}.{part({'sub': 'alice'})}.", "alg nothing"),
    ("alg is a list", lambda: forged({"alg": ["RS256"]}, {}), "alg something that is not a text"),
    ("HMAC with the public PEM", lambda: forged({"alg": "HS256"}, {}, pem()), 'alg "HS256"; its key takes RS256'),
    ("HMAC with the public JWK", lambda: forged({"alg": "HS256"}, {}, json.dumps(jwk()).encode()), 'alg "HS256"'),
    ("HMAC with the modulus", lambda: forged({"alg": "HS256"}, {}, jwk()["n"].encode()), 'alg "HS256"'),
    ("HMAC called RS256", lambda: forged({"alg": "RS256"}, {}, pem()), "did not make"),
    ("another RSA key", lambda: sign(key="other"), "did not make"),
    ("another curve", lambda: sign(None, "ES256", "P-256"), 'alg "ES256"'),
    ("embedded key", lambda: sign(key="other", jwk=jwk()), "`jwk`"),
    ("key by URL", lambda: sign(jku="https://evil.test/jwks.json"), "`jku`"),
    ("certificate by URL", lambda: sign(x5u="https://evil.test/x.pem"), "`x5u`"),
    ("embedded certificate", lambda: sign(x5c=["MIIB"]), "`x5c`"),
    ("critical extension", lambda: sign(crit=["exp"], exp=1), "`crit`"),
    ("empty crit", lambda: sign(crit=[]), "`crit`"),
    ("detached payload", lambda: forged({"alg": "HS256", "b64": False}, {}), "`b64`"),
    ("unknown kid", lambda: sign(kid="z"), 'names the kid "z"; the kids of the JWKs are: none'),
    ("kid with a path", lambda: sign(kid="../../../../dev/null"), 'names the kid "../../../../dev/null"'),
    ("kid with SQL", lambda: sign(kid="' UNION SELECT 'x"), "names the kid"),
    ("long kid", lambda: sign(kid="k" * 1000), 'kkk..."'),
    ("kid with a line break", lambda: sign(kid="a\nb"), r'"a\nb"'),
    ("kid is a number", lambda: forged({"alg": "RS256", "kid": 1}, {}), "kid that is not a text"),
    ("kid is null", lambda: forged({"alg": "RS256", "kid": None}, {}), "kid that is not a text"),
    ("huge", lambda: sign({"x": "y" * 8000}), "at most 8192 are read"),
    ("payload is a list", lambda: sign([1]), "payload that is not a JSON object"),
    ("payload is a text", lambda: sign("alice"), "payload that is not a JSON object"),
    ("payload is null", lambda: jwt.PyJWS().encode(b"null", private("RSA"), "RS256"), "not a JSON object"),
    ("payload is no JSON", lambda: jwt.PyJWS().encode(b"{", private("RSA"), "RS256"), "payload that is not valid JSON"),
    ("payload is UTF-16", lambda: jwt.PyJWS().encode("{}".encode("utf-16"), private("RSA"), "RS256"), "not valid JSON"),
    (
        "payload with NaN",
        lambda: jwt.PyJWS().encode(b'{"exp": NaN}', private("RSA"), "RS256"),
        "payload that is not valid JSON",
    ),
    (
        "claim twice",
        lambda: jwt.PyJWS().encode(b'{"sub": "a", "sub": "b"}', private("RSA"), "RS256"),
        "names a member twice",
    ),
    (
        "nested payload",
        lambda: jwt.PyJWS().encode(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", private("RSA"), "RS256"),
        "nested too deeply",
    ),
    ("huge number", lambda: jwt.PyJWS().encode(b'{"a":' + b"9" * 5000 + b"}", private("RSA"), "RS256"), "not valid"),
    ("header is a list", lambda: f"{part([])}.{part({})}.", "header that is not a JSON object"),
    ("header is no JSON", lambda: f"{part(b'{')}.{part({})}.", "header that is not valid JSON"),
    ("nested header", lambda: f"{part(b'[' * 5000)}.{part({})}.", "header that is nested too deeply"),
    ("two parts", lambda: "a.b", "has 2 parts"),
    ("five parts", lambda: sign() + ".x.y", "has 5 parts"),
    ("one word", lambda: "letmein", "has 1 parts"),
    ("padding", lambda: sign() + "==", "signature that is not base64url"),
    ("blank at the end", lambda: sign() + " ", "signature that is not base64url"),
    ("prefix twice", lambda: "Bearer " + sign(), "header that is not base64url"),
    ("two tokens", lambda: sign() + "," + sign(), "parts"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), [attack[1:] for attack in ATTACKS], ids=[attack[0] for attack in ATTACKS])
def test_attack_is_refused_and_named(make: Callable[[], str], said: str) -> None:
    """A token that anybody could make, or that is malformed, is refused, and the log says why."""
    reason = refusal(make())
    assert reason.startswith("the token in header Authorization ")
    assert said in reason


NO_TIMES: list[Any] = [True, None, "1", [], {}, 2**60, -(2**60), 10**400, 1e300]


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": NOW - 962}, "expired 16 min 2 s ago"),
        ({"exp": NOW - 90061}, "expired 1 d 1 h ago"),
        ({"exp": NOW - 7200}, "expired 2 h ago"),
        ({"exp": NOW}, "expired less than 1 s ago"),
        ({"exp": 0}, "expired 19675 d 22 h ago"),
        ({"exp": NOW + 10, "nbf": NOW + 300}, "is valid only in 5 min (nbf)"),
        ({"iat": NOW + 0.5}, "was issued less than 1 s in the future (iat)"),
        ({"iat": NOW + 3}, "was issued 3 s in the future (iat)"),
        *[({name: value}, f"`{name}` that is no time") for name in ("exp", "nbf", "iat") for value in NO_TIMES],
    ],
)
def test_token_outside_its_times_is_refused(claims: dict[str, Any], said: str) -> None:
    """A token that expired, is not valid yet, or comes from the future is refused; the log says by how much."""
    assert said in refusal(sign(claims))


def test_infinite_time_is_refused() -> None:
    """A number that is too large for a float is not a valid time."""
    assert "no time" in refusal(jwt.PyJWS().encode(b'{"exp": 1e999}', private("RSA"), "RS256"))


def test_times_are_looked_at_after_the_signature() -> None:
    """The claims of a forged token are not reported."""
    assert "did not make" in refusal(sign({"exp": 0}, key="other"))


def test_kid_of_another_key_is_refused() -> None:
    """A token that names another key than the one it was signed with is refused, whichever way round."""
    keys = (jwk(kid="a"), jwk("P-256", kid="b"), jwk("oct"))
    assert 'alg "RS256"; its key takes ES256' in refusal(sign(kid="b"), *keys)
    assert 'alg "RS256"; its key takes HS256' in refusal(sign(), *keys)
    assert 'kid "a" did not make' in refusal(sign(key="other", kid="a"), *keys)
    assert 'names no kid; the kids of the JWKs are: "a"' in refusal(sign(), keys[0])


def test_algorithm_of_the_jwk_is_the_only_one() -> None:
    """A JWK with `alg` accepts no other algorithm."""
    assert 'alg "RS256"; its key takes PS256' in refusal(sign(), jwk(alg="PS256"))


@pytest.mark.parametrize(("algorithm", "kind"), ALGORITHMS)
def test_signature_of_any_length_is_refused(algorithm: str, kind: str) -> None:
    """An invalid signature of any length is refused, even if the library raises another error."""
    signed = sign({"sub": "alice"}, algorithm, kind).rpartition(".")[0]
    found = authenticator(jwk(kind))
    for length in (0, 1, 63, 64, 65, 96, 132, 256, 1000):
        head = RequestHead("GET", "/", ((b"Authorization", f"Bearer {signed}.{part(bytes(length))}".encode()),))
        with pytest.raises(FCError, match="JWTTokenInvalid"):
            found.authenticate(head, None, NOW)

    def stumble(signed: bytes, signature: bytes) -> bool:
        raise ValueError

    found._keys[""].verifiers[algorithm] = stumble
    head = RequestHead("GET", "/", ((b"Authorization", f"Bearer {signed}.".encode()),))
    with pytest.raises(FCError, match="JWTTokenInvalid"):
        found.authenticate(head, None, NOW)


def test_limit_of_size_is_8_kilobytes() -> None:
    """A token of 8192 bytes is verified, one of 8193 bytes is not."""
    assert "parts" in refusal("x" * 8192)
    assert "is 8193 bytes long" in refusal("x" * 8193)


# --- where the token is -------------------------------------------------------------------------------------------

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")


def look(lookup: Any, *headers: tuple[bytes, bytes], target: str = "/", method: str = "POST", body: bytes | None = None,
         token_key: str = "RSA") -> None:  # fmt: skip
    """Authenticate a request with a tokenLookup; the request must not change."""
    head = RequestHead(method, target, headers)
    found = authenticator(jwk(token_key), tokenLookup=lookup)
    assert found.authenticate(head, body, NOW) == (head, body)


def test_token_is_found_in_all_four_positions() -> None:
    """A token may be in a header, a cookie, the query or a form, in both forms of tokenLookup."""
    token = sign().encode()
    look("header:X-Token", (b"x-TOKEN", token))
    look("header:Authorization:JWT ", (b"authorization", b"JWT " + token))
    look("cookie:t", (b"Cookie", b"a=b; t=" + token + b"; c=d"))
    look("cookie:t", (b"Cookie", b"a=b"), (b"cookie", b't="' + token + b'"'))
    look("query:t", target=f"/?a=b&%74={token.decode()}", method="GET")
    look("form:t", FORM, body=b"a=b&t=" + token.replace(b".", b"%2E"))
    look("form:t", (FORM[0], FORM[1] + b"; charset=UTF-8"), body=b"t=" + token)
    look([{"readPosition": "cookie", "parameterName": "t"}], (b"Cookie", b"t=" + token))
    listed = {"readPosition": "header", "parameterName": "Authorization", "prefix": "Bearer "}
    look([listed], (b"Authorization", b"Bearer " + token))


def test_places_are_tried_in_their_order() -> None:
    """The first place that has a token decides, even if that token is wrong."""
    token = sign().encode()
    lookup = "header:Authorization:Bearer , cookie:t, query:t"
    look(lookup, (b"Authorization", b"Basic x"), (b"Cookie", b"t="), target=f"/?t={token.decode()}")
    look(lookup, (b"Authorization", b"Bearer " + token), (b"Cookie", b"t=bad"))
    look(lookup, (b"Authorization", b"Basic x"), (b"Authorization", b"Bearer " + token))
    with pytest.raises(FCError, match="JWTTokenInvalid"):
        look(lookup, (b"Authorization", b"Bearer bad"), (b"Cookie", b"t=" + token))


@pytest.mark.parametrize(
    ("lookup", "headers", "kw"),
    [
        ("header:Authorization:Bearer ", [], {}),
        ("header:Authorization:Bearer ", [(b"Authorization", b"%b")], {}),
        ("header:Authorization:Bearer ", [(b"Authorization", b"bearer %b")], {}),
        ("header:Authorization:Bearer ", [(b"Authorization", b"Bearer")], {}),
        ("header:Authorization:Bearer ", [(b"Authorization", b"Bearer ")], {}),
        ("header:Authorization:Bearer  ", [(b"Authorization", b"Bearer %b")], {}),
        ("cookie:t", [(b"Cookie", b"T=%b; tt=%b")], {}),
        ("cookie:t", [(b"t", b"%b")], {}),
        ("query:t", [], {"target": "/?T=%b"}),
        ("query:t", [], {"target": "/?t"}),
        ("form:t", [FORM], {"body": b"t=%b", "method": "PUT"}),
        ("form:t", [], {"body": b"t=%b"}),
        ("form:t", [(b"Content-Type", b"multipart/form-data; boundary=x")], {"body": b"t=%b"}),
        ("form:t", [FORM], {"body": None}),
        ("form:t", [FORM], {"target": "/?t=%b", "body": b""}),
    ],
)
def test_token_elsewhere_is_missing(lookup: str, headers: list[tuple[bytes, bytes]], kw: dict[str, Any]) -> None:
    """A token in another place, or with another prefix, counts as missing; the log names the place."""
    token = sign()
    pairs = [(name, value.replace(b"%b", token.encode())) for name, value in headers]
    if kw.get("body"):
        kw = {**kw, "body": kw["body"].replace(b"%b", token.encode())}
    if "target" in kw:
        kw = {**kw, "target": kw["target"].replace("%b", token)}
    with pytest.raises(FCError) as caught:
        look(lookup, *pairs, **kw)
    error = caught.value
    assert (error.status, error.code, error.message) == (403, "JWTTokenIsMissing", "the jwt token is missing")
    assert lookup.split(":")[1] in error.reason
    assert token not in error.reason


def test_default_lookup_is_bearer() -> None:
    """Without tokenLookup the token is looked up as `Authorization: Bearer …`."""
    enter(sign())
    assert "header Authorization with prefix 'Bearer '" in refusal(None)


def test_body_is_needed_for_forms_only() -> None:
    """The body is read only if a form parameter is looked up or set; a token in the query is hidden in the log."""
    assert not authenticator(tokenLookup="query:t,cookie:u").needs_body
    assert authenticator(tokenLookup="query:t,form:u").needs_body
    assert authenticator(claimPassBy="form:sub:uid").needs_body
    assert not authenticator(claimPassBy="header:sub:uid").needs_body
    assert authenticator(tokenLookup="query:t,form:u").secret_parameters == {"t"}


# --- which paths need one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lists", "path", "needed"),
    [
        ({}, "/", True),
        ({"whitelist": ["/a"]}, "/a", False),
        ({"whitelist": ["/a"]}, "/a?x=1", False),
        ({"whitelist": ["/a"]}, "/%61", False),
        ({"whitelist": ["/a"]}, "/a/", True),
        ({"whitelist": ["/a"]}, "/A", True),
        ({"whitelist": ["/a"]}, "/ab", True),
        ({"whitelist": ["/a"]}, "/b", True),
        ({"whitelist": ["/a/"]}, "/a/", False),
        ({"whitelist": ["/a/"]}, "/a", True),
        ({"whitelist": ["/b", "/login/*"]}, "/login/a", False),
        ({"whitelist": ["/login/*"]}, "/login/b/c", False),
        ({"whitelist": ["/login/*"]}, "/login/", False),
        ({"whitelist": ["/login/*"]}, "/login", True),
        ({"whitelist": ["/login*"]}, "/login", False),
        ({"whitelist": ["/login*"]}, "/loginx", False),
        ({"whitelist": ["/*"]}, "/any/thing", False),
        ({"whiteList": ["/a"]}, "/a", False),
        ({"whitelist": ["/登录"]}, "/%E7%99%BB%E5%BD%95", False),
        ({"blacklist": ["/a"]}, "/a", True),
        ({"blacklist": ["/a"]}, "/a/", False),
        ({"blacklist": ["/a"]}, "/b", False),
        ({"blacklist": ["/admin/*"]}, "/admin/x/y", True),
        ({"blacklist": ["/admin/*"]}, "/other", False),
        ({"blackList": ["/a"]}, "/b", False),
        ({"whitelist": [], "blacklist": []}, "/", True),
    ],
)
def test_lists_say_which_paths_need_a_token(lists: dict[str, Any], path: str, needed: bool) -> None:
    """Whitelisted paths need no token; with a blacklist only its paths do; exact, or a prefix before `*`."""
    if needed:
        assert "no token" in refusal(None, target=path, **lists)
    else:
        assert enter(None, target=path, **lists).target == path


@pytest.mark.parametrize(
    "path",
    [
        "/login/../admin", "/login/%2e%2e/admin", "/login/%2E./admin", "/login/..%2fadmin", "/login/..\\admin",
        "/login/..;/admin", "/login/..;x=y/admin", "/login/x/../../admin", "/login/%5c..%5c..%5cadmin",
    ],
)  # fmt: skip
def test_other_spellings_do_not_leave_the_whitelist(path: str) -> None:
    """A path that some servers read as another one needs a token."""
    assert "no token" in refusal(None, target=path, whitelist=["/login/*"])


@pytest.mark.parametrize(
    "path", ["//admin", "/./admin", "/x/../admin", "/%61dmin", "/admin;x", "/x/%2e%2e/admin", "/\\admin"]
)
def test_other_spellings_do_not_escape_the_blacklist(path: str) -> None:
    """A path that some servers read as a listed one needs a token."""
    assert "no token" in refusal(None, target=path, blacklist=["/admin"])


# --- claims -------------------------------------------------------------------------------------------------------


def test_claims_pass_in_all_four_positions() -> None:
    """Claims reach the function in headers, cookies, the query and a form, whatever the client sent there."""
    passing = "header:sub:x-sub,cookie:sub:sub,query:iss:iss,form:n:n"
    found = authenticator(claimPassBy=passing)
    token = sign({"sub": "alice", "iss": "me & you", "n": 7})
    headers = (
        (b"Host", b"x"), FORM, (b"Content-Length", b"9"), (b"X_SUB", b"mallory"), (b"Cookie", b"a=b; sub=mallory"),
        (b"Authorization", b"Bearer " + token.encode()),
    )  # fmt: skip
    head, body = found.authenticate(RequestHead("POST", "/p?iss=evil&q=%41", headers), b"n=1&m=%42", NOW)
    assert (head.method, head.target) == ("POST", "/p?iss=me%20%26%20you&q=%41")
    assert head.headers == (
        (b"Host", b"x"), FORM, (b"Content-Length", b"9"), (b"Cookie", b"sub=alice; a=b"),
        (b"Authorization", b"Bearer " + token.encode()), (b"x-sub", b"alice"),
    )  # fmt: skip
    assert body == b"n=7&m=%42"


@pytest.mark.parametrize("target", ["/public", "/private"])
def test_smuggled_claims_are_removed_without_a_claim_of_ours(target: str) -> None:
    """A client's own claim is removed even on a whitelisted path, and if the token lacks the claim."""
    found = authenticator(
        claimPassBy="header:uid:x-uid,query:uid:uid,cookie:uid:uid,form:uid:uid", whitelist=["/public"]
    )
    token = (b"Authorization", b"Bearer " + sign().encode())
    headers = ((b"X-Uid", b"1"), (b"Cookie", b"uid=1"), FORM, (b"Content-Length", b"9"), token)
    head, body = found.authenticate(RequestHead("POST", f"{target}?uid=1", headers), b"uid=1&a=1", NOW)
    assert (head.target, head.headers, body) == (target, (FORM, (b"Content-Length", b"3"), token), b"a=1")


def test_list_form_of_claims_is_the_text_form() -> None:
    """The list form of claimPassBy in s.yaml means what the text means."""
    entry = {"claimName": "sub", "mappingParameterName": "x-sub", "mappingParameterPosition": "header"}
    assert enter(sign(), claimPassBy=[entry]) == enter(sign(), claimPassBy="header:sub:x-sub")


# --- anything at all ----------------------------------------------------------------------------------------------

ANY = authenticator(
    jwk(), jwk("oct", kid="o"), jwk("P-256", kid="p"),
    **{
        "tokenLookup": "header:Authorization:Bearer ,cookie:t,query:t,form:t",
        "claimPassBy": "header:sub:x-sub,cookie:sub:sub,query:sub:sub,form:sub:sub",
        "whitelist": ["/open/*"],
    },
)  # fmt: skip
TEXTS = st.binary(max_size=60) | st.sampled_from([b"t=x", b"sub=1", b"a=b;t=1", b"%74=%", b"sub[]=%ff&t=a.b.c"])


@given(
    TEXTS | st.binary().map(b"Bearer ".__add__), TEXTS, TEXTS, st.none() | TEXTS,
    st.sampled_from(["GET", "POST"]), st.sampled_from([FORM[1], b"", b"multipart/form-data", b"text/plain"]),
)  # fmt: skip
def test_any_request_enters_or_is_refused(
    authorization: bytes, cookie: bytes, query: bytes, body: bytes | None, method: str, kind: bytes
) -> None:
    """Arbitrary bytes as Authorization, Cookie, query and body never raise anything but FCError."""
    headers = ((b"Authorization", authorization), (b"Cookie", cookie), (b"Content-Type", kind))
    for path in ("/", "/open/x"):
        head = RequestHead(method, f"{path}?{query.decode('utf-8', 'surrogateescape')}", headers)
        with contextlib.suppress(FCError):
            forwarded, _ = ANY.authenticate(head, body, NOW)
            assert path == "/open/x"
            assert forwarded.header("x-sub") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "x"]), JSON | st.sampled_from(["HS256", "o"])),
    st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "sub"]), JSON),
)
def test_any_header_and_payload_enter_or_are_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Any JSON in a token, signed or not, raises nothing but FCError, and cannot break a header."""
    for kind in (header, {"alg": "HS256", "kid": "o"}):
        head = RequestHead("GET", "/", ((b"Authorization", b"Bearer " + forged(kind, claims).encode()),))
        with contextlib.suppress(FCError):
            forwarded, _ = ANY.authenticate(head, None, NOW)
            assert kind["alg"] == "HS256"
            assert all(byte >= 32 and byte != 127 for name, value in forwarded.headers for byte in name + value)
            assert " " not in forwarded.target
