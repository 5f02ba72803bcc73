"""Requests with a condition: 304 for what the client has already, 412 for what has changed meanwhile.

Describes have an ETag and a Last-Modified; of the rows only those of Account have an ETag.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from connector.sandbox.calls import Call, Reply
from connector.sandbox.errors import ApiError
from connector.sandbox.schema import Object

_TAGGED = frozenset({"Account"})


def describe(call: Call, modified: datetime, text: str) -> Reply:
    """200 with the text, or 304 with nothing."""
    return _answer(call, text, _tag(text), modified)


def row(call: Call, shape: Object, stored: Mapping[str, str | None], text: str) -> Reply:
    tag = row_tag(shape, stored)
    if not _matches(call, tag):
        raise _failed()
    return _answer(call, text, tag, _modified(stored))


def check_write(call: Call, shape: Object, stored: Mapping[str, str | None]) -> None:
    """Before a row is changed (PATCH) or deleted, which knows no If-Unmodified-Since."""
    tag = row_tag(shape, stored)
    if not _matches(call, tag) or (tag is not None and _has(call, tag)):
        raise _failed()
    if call.method != "PATCH" or "if-unmodified-since" not in call.headers:
        return
    since, modified = _date(call.headers["if-unmodified-since"]), _modified(stored)
    if since is None:
        raise ApiError(400, "INVALID_HEADER", "If-Unmodified-Since is not an HTTP date")  # [U] code and sentence
    if modified is not None and modified > since:
        raise _failed()


def row_tag(shape: Object, stored: Mapping[str, str | None]) -> str | None:
    return _tag(json.dumps(stored, sort_keys=True)) if shape.name in _TAGGED else None


def http_date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _answer(call: Call, text: str, tag: str | None, modified: datetime | None) -> Reply:
    headers = {"ETag": tag} if tag else {}
    if modified is not None:
        headers["Last-Modified"] = http_date(modified)
    if tag is not None and "if-none-match" in call.headers:  # it wins over a date
        known = _has(call, tag)
    else:
        since = _date(call.headers.get("if-modified-since", ""))
        known = since is not None and modified is not None and modified <= since
    return Reply(304, None, headers) if known else Reply(200, text, headers)


def _matches(call: Call, tag: str | None) -> bool:
    wanted = call.headers.get("if-match")
    return wanted is None or tag is None or _listed(wanted, tag)


def _has(call: Call, tag: str) -> bool:
    return _listed(call.headers.get("if-none-match", ""), tag)


def _listed(header: str, tag: str) -> bool:
    """A gzipped answer says so at the end of its tag; weak or not makes no difference here."""
    tags = [each.strip().removeprefix("W/").replace("--gzip", "") for each in header.split(",")]
    return tag in tags or "*" in tags


def _tag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]}"'


def _modified(stored: Mapping[str, str | None]) -> datetime | None:
    stamp = stored.get("SystemModstamp")
    return None if stamp is None else datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z")


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _failed() -> ApiError:
    return ApiError(412, "PRECONDITION_FAILED", "The record has changed since it was read")  # [U] code and sentence
