"""All errors of fcemu: those that clients get, and those about your set-up.

Error tree::

    FCError                the error that a client gets; one row of `Refusal`
    FcemuError             your set-up is wrong; never sent to a client
        ConfigError        the configuration cannot be used (exit code 2)
        StartError         the emulator or a function could not be started (exit code 1)

Every error that the gateway itself sends is a row of `Refusal`. The columns are those of the vendor's table of status
codes (PAGE, "Troubleshooting pre-handshake errors") and of its table of error codes. Rows that the vendor does not
document are marked INF and listed in docs/fidelity.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

COMMON = "FCCommonError"
"""`X-Fc-Error-Type` of an error that is not the function's."""

UNHANDLED = "UnhandledInvocationError"
"""`X-Fc-Error-Type` of an error that says that the function failed."""


@dataclass(frozen=True)
class Row:
    """One row of the table: what the client gets, and whether the cloud bills the invocation."""

    status: int
    code: str
    message: str
    error_type: str = COMMON
    billed: bool = False


class Refusal(Enum):
    """Every error that the gateway sends instead of the function's answer."""

    # 200: D/04/060, D/04/119: a failed initializer is reported as the function's own error.
    INITIALIZATION_FAILED = Row(200, "InitializationError", "{detail}", "InitializationError")
    # 400: D/04/002 limits; D/08/067 codes.
    BAD_REQUEST = Row(400, "InvalidArgument", "{detail}")
    HEADERS_TOO_LARGE = Row(400, "InvalidArgument", "the request headers are {size} bytes; at most {limit} are allowed")
    TARGET_TOO_LARGE = Row(
        400, "InvalidArgument", "the request path and query are {size} bytes; at most {limit} are allowed"
    )
    BODY_TOO_LARGE = Row(400, "InvalidArgument", "the request body exceeds the maximum allowed size ({limit} bytes)")
    EXTERNAL_REDIRECT = Row(
        400,
        "ExternalRedirectForbidden",
        "The external redirect is forbidden, please use custom domain endpoint",
        billed=True,
    )
    APK_DOWNLOAD = Row(
        400,
        "ApkDownloadForbidden",
        "The apk download is forbidden, please use custom domain endpoint",
        billed=True,
    )
    # Session affinity: D/04/010-013 (statuses), D/04/015 (texts); the codes are INF.
    SESSION_ID_INVALID = Row(
        400, "InvalidArgument", "The provided sessionID is invalid (allowed:'^[a-zA-Z0-9_][a-zA-Z0-9_-]*$', max: 64)"
    )
    SESSION_NOT_FOUND = Row(
        401,
        "SessionNotFound",
        "session {id} does not exist, deleted by the user or expired and removed by the system",
    )
    # Signature: D/06/05 (texts), the code table; the code of an expired request is INF.
    MISSING_DATE = Row(400, "MissingRequiredHeader", "required HTTP header Date was not specified")
    MISSING_AUTHORIZATION = Row(400, "MissingRequiredHeader", "required HTTP header Authorization was not specified")
    REQUEST_EXPIRED = Row(
        403,
        "AccessDenied",
        "the difference between the request time '{requested}' and the current time '{now}' is too large",
    )
    SIGNATURE_NOT_MATCH = Row(
        403,
        "SignatureNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your access key and signing method",
    )
    INVALID_ACCESS_KEY_ID = Row(403, "InvalidAccessKeyID", "invalid access key ID '{access_key_id}'")
    # JWT: D/06/04 (texts); the first row as observed, code and status of the second INF (semantics 2.3).
    JWT_TOKEN_IS_MISSING = Row(403, "JWTTokenIsMissing", "the jwt token is missing")
    JWT_TOKEN_INVALID = Row(403, "JWTTokenInvalid", "invalid or expired jwt")
    # Bearer: D/06/02 (texts), OBS (status); the code is INF.
    BEARER_MISSING = Row(403, "AccessDenied", "Authorization header is expected but missing")
    BEARER_INVALID = Row(403, "AccessDenied", "access denied due to invalid bearer token")
    # Basic: D/06/03 (the first three texts); status, code and the last text are INF.
    BASIC_MISSING = Row(401, "AccessDenied", "authorization require")
    BASIC_OTHER_SCHEME = Row(401, "AccessDenied", "Authorization header must start with Basic")
    BASIC_NOT_BASE64 = Row(401, "AccessDenied", "basic authorization {value} is not base64 encoded string")
    BASIC_INVALID = Row(401, "AccessDenied", "access denied due to invalid user name or password")
    # 403: D/04/028 = PAGE; the live text of the internet URL from an observation (semantics 2.3).
    INTERNET_URL_DISABLED = Row(403, "AccessDenied", "access denied due to function internet URL is disabled")
    METHOD_NOT_ALLOWED = Row(403, "AccessDenied", "the http method '{method}' is not allowed")
    AUTHENTICATION_UNAVAILABLE = Row(403, "AccessDenied", "access denied")
    # 404: the code table (semantics 2.3).
    FUNCTION_NOT_FOUND = Row(404, "FunctionNotFound", "function '{function}' does not exist")
    TRIGGER_NOT_FOUND = Row(404, "TriggerNotFound", "trigger 'http' does not exist in function '{function}'")
    DOMAIN_NAME_NOT_FOUND = Row(404, "DomainNameNotFound", "domain name '{domain}' does not exist")
    DOMAIN_ROUTE_NOT_FOUND = Row(404, "DomainRouteNotFound", "no route found in domain '{domain}' for path '{path}'")
    # 412: D/04/038, D/04/076, observed bodies (semantics 2.3).
    CA_EXITED = Row(
        412,
        "CAExited",
        "Function instance exited unexpectedly({cause}) with start command '{command}'.\nLogs:{logs}",
    )
    CA_FILE_NOT_FOUND = Row(
        412,
        "CAFileNotFound",
        "The function cannot be started. Failed to start function instance. Error: the file {file} is not exist",
    )
    CA_FILE_PERMISSION = Row(
        412,
        "CAFilePermission",
        "The function cannot be started. Function instance exited unexpectedly"
        "(code 13, message:permission denied) with start command '{command}'.",
    )
    FUNCTION_NOT_STARTED = Row(
        412,
        "FunctionNotStarted",
        "Function instance health check failed on port {port} in {seconds:g} seconds.\nLogs:{logs}",
    )
    HEALTH_CHECK_FAILED = Row(
        412,
        "FunctionNotStarted",
        "The function http server cannot be started. check function health failed with status code: {status} ",
    )
    # 429: D/04/034, D/04/063; the text is not documented.
    RESOURCE_EXHAUSTED = Row(429, "ResourceExhausted", "{detail}")
    # 5xx: the code table; D/08/069 for the text of a broken exchange; D/05/25 for the timeout's.
    INTERNAL_SERVER_ERROR = Row(500, "InternalServerError", "an internal error has occurred. Please retry.")
    BAD_RESPONSE = Row(502, "BadResponse", "{detail}", UNHANDLED, billed=True)
    PROCESS_EXITED = Row(
        502,
        "FunctionUnhandledError",
        "Process exited unexpectedly before completing request "
        "(duration: {milliseconds}ms, maxMemoryUsage: {memory:.2f}MB)",
        UNHANDLED,
        billed=True,
    )
    # The code is that of the request metrics (D/04/091); the text is INF.
    FUNCTION_OOM = Row(
        502,
        "FunctionOOMError",
        "Process exited unexpectedly before completing request: it used more than its memory "
        "(duration: {milliseconds}ms, memorySize: {limit}MB, maxMemoryUsage: {memory:.2f}MB)",
        UNHANDLED,
        billed=True,
    )
    FUNCTION_TIMEOUT = Row(
        502,
        "FunctionTimeoutError",
        "Function timed out after {seconds} seconds (maxMemoryUsage: {memory:.2f}MB)",
        UNHANDLED,
        billed=True,
    )
    # The code table; the text is one of the documented ones. fcemu sends it only as an injected fault.
    SYSTEM_THROTTLED = Row(503, "ResourceThrottled", "Reserve resource exceeded limit")
    SHUTTING_DOWN = Row(503, "ServiceUnavailable", "the emulator is stopping")


class FCError(Exception):
    """The error that a client gets instead of the function's answer.

    Args:
        refusal: the row of the table.
        reason: why the request was refused; the message by default.
        remedy: what to change.
        values: fill the placeholders of the row's message.

    `reason` and `remedy` are for the log only. They are never sent to a client, so they may name the configuration.
    """

    def __init__(self, refusal: Refusal, *, reason: str = "", remedy: str = "", **values: object) -> None:
        row = refusal.value
        self.refusal = refusal
        self.status = row.status
        self.code = row.code
        self.error_type = row.error_type
        self.billed = row.billed
        self.message = row.message.format(**values) if values else row.message
        self.reason = reason or self.message
        self.remedy = remedy
        self._values = values
        super().__init__(f"{self.status} {self.code}: {self.message}")

    def with_reason(self, reason: str) -> FCError:
        """The same error for another request, with another reason for the log."""
        return FCError(self.refusal, reason=reason, remedy=self.remedy, **self._values)


class FcemuError(Exception):
    """Something about the user's set-up is wrong. The message says what, and what to do."""

    exit_code = 1


class StartError(FcemuError):
    """The emulator or a function could not be started."""


KeyPath = tuple[str | int, ...]
"""The keys and list positions that lead to a value: `("triggers", 0, "triggerName")`."""


@dataclass(frozen=True)
class Finding:
    """A mistake in a configuration, or advice about one: what is wrong, where, and what to write instead.

    Attributes:
        text: what is wrong, and what to write.
        path: the keys that lead to the value. In a model's finding it starts at the value that the model validates.
        file: the file of the configuration; empty until it is known.
        line: counted from 1; 0 until it is known.
        subject: what a piece of advice is about, e.g. `function chat`.
    """

    text: str
    path: KeyPath = ()
    file: str = ""
    line: int = 0
    subject: str = ""

    @property
    def key(self) -> str:
        """The path as text: `triggers[0].triggerConfig.methods`."""
        key = ""
        for part in self.path:
            if isinstance(part, int):
                key += f"[{part}]"
            else:
                shown = part if re.fullmatch(r"[\w*/<-]+", part) else repr(part)
                key += f".{shown}" if key else shown
        return key

    def __str__(self) -> str:
        key = f"{self.key}: " if self.path else ""
        return f"{self.file}:{self.line}: {key}{self.text}"


class ConfigError(FcemuError):
    """The configuration cannot be used.

    Attributes:
        findings: every mistake, in the order of lines.
    """

    exit_code = 2

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(map(str, findings)))
