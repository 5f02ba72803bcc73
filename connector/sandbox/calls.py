"""The shapes that a request and its answer have between the HTTP server and the resources."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.sandbox.errors import ApiError, bad_json
from connector.sandbox.sessions import Session


@dataclass(frozen=True)
class Request:
    """One HTTP request. Header names are in lower case, path and query as they came over the wire."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    origin: str


@dataclass(frozen=True)
class Reply:
    """Text is JSON unless the headers say otherwise; None is no body."""

    status: int
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None  # instead of a text
    wire: str | None = None  # as in Trace
    seconds: float = 0


@dataclass
class Trace:
    """What one HTTP request as a whole must remember, however many subrequests it has."""

    hang_up: bool = False
    wire: str | None = None  # what happens to the answer on its way: truncated, truncated_chunks, trickled
    seconds: float = 0


@dataclass(frozen=True)
class Call:
    """A request to a versioned resource: the HTTP request itself, or one inside a composite."""

    method: str
    version: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    session: Session
    trace: Trace
    inner: bool = False

    @property
    def base(self) -> str:
        return f"/services/data/v{self.version}"

    @property
    def path(self) -> str:
        return "/".join([self.base, *self.segments])

    def json(self) -> dict[str, Any]:
        kind = self.headers.get("content-type", "application/json").lower()
        if "xml" in kind or "multipart" in kind:
            raise ApiError(
                501, "NOT_IMPLEMENTED_IN_SANDBOX", f"A body of type {kind} is not emulated by the sandbox org"
            )
        if "json" not in kind:
            raise ApiError(
                415, "UNSUPPORTED_MEDIA_TYPE", f"A body of type {kind} is not supported"
            )  # [U] code and sentence
        try:
            found = json.loads(self.body, parse_constant=_no_constant)
        except RecursionError:
            raise bad_json("The request body is nested too deeply") from None  # [U] sentence
        except ValueError as reason:
            raise bad_json(f"Unexpected content in the request body: {reason}") from None  # [U] sentence
        if not isinstance(found, dict):
            raise bad_json("The HTTP entity body is required to be a JSON object")  # [U] sentence
        return found


def reply(status: int, body: object, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, dumped(body), headers or {})


def dumped(body: object) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


# Statuses that come with a page or with nothing instead of the JSON array.
_OTHER_BODIES = {
    406: (None, {}),
    414: ("<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>", {"Content-Type": "text/html;charset=iso-8859-1"}),
    420: ("<html><body>Too many requests</body></html>", {"Content-Type": "text/html"}),  # [U] text
}


def refusal(error: ApiError) -> Reply:
    if error.page is not None:
        return Reply(error.status, error.page, {"Content-Type": "text/html;charset=UTF-8"})
    if error.status in _OTHER_BODIES:
        text, headers = _OTHER_BODIES[error.status]
        return Reply(error.status, text, headers)
    return Reply(error.status, dumped(error.body()), error.headers)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
