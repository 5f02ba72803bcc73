"""What an org's refusals mean: by code, who can act and what to do. Of the org's own text one line at most gets through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connector import canon
from connector.endpoints.forms import brief
from connector.errors import Drifted, EndpointError, RateLimited, Rejected, Unanswered, Unauthorized, Unavailable
from connector.model import Change, Written


class LostPlace(EndpointError):
    """A query locator is no longer good: it lives and dies with the session that made it."""


_VERDICTS: tuple[tuple[type[EndpointError], str, str], ...] = (
    # nobody: asked again after a pause
    (Unavailable, "UNABLE_TO_LOCK_ROW", "somebody else is writing to it or to its parent"),
    (Unavailable, "QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG", "the org took too long over it"),
    (Unavailable, "SERVER_UNAVAILABLE TXN_SECURITY_METERING_ERROR", "the org is busy"),
    (LostPlace, "INVALID_QUERY_LOCATOR", "read on from the last row"),
    (RateLimited, "REQUEST_LIMIT_EXCEEDED", ""),  # two limits in one code: `refusal` tells them apart
    # the admin of the connection
    (Unauthorized, "INVALID_SESSION_ID INVALID_AUTH_HEADER INVALID_JWT_FORMAT", "sign in again"),
    (
        Unauthorized,
        "API_CURRENTLY_DISABLED API_DISABLED_FOR_ORG CLIENT_NOT_ACCESSIBLE_FOR_USER FUNCTIONALITY_NOT_ENABLED",
        "the integration user, or the org's edition, may not use the API",
    ),
    (Unauthorized, "UNSUPPORTED_API_VERSION", "set `version` of the connection to one that the org speaks"),
    # the integration engineer
    (
        Drifted,
        "INVALID_FIELD INVALID_TYPE",
        "it is gone, or hidden from the integration user: grant it, or take it out of the mapping",
    ),
    (
        Rejected,
        "MALFORMED_QUERY INVALID_QUERY_FILTER_OPERATOR QUERY_TOO_COMPLICATED OPERATION_TOO_LARGE",
        "check what the mapping reads, and by which conditions",
    ),
    (
        Rejected,
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "nobody, or not the integration user, may write it: take it out of the mapping, or grant it",
    ),
    (
        Rejected,
        "JSON_PARSER_ERROR INVALID_VALUE INVALID_ID_FIELD",
        "a value has a form that its field cannot take: check the mapping",
    ),
    (Rejected, "MALFORMED_ID", "an id has to be one of Salesforce's, of the right object: check the mapping"),
    # the admin of the org
    (
        Rejected,
        "DUPLICATES_DETECTED",
        "a duplicate rule of the org: merge or use the record that is there, or set `duplicates: allow` in the connection",
    ),
    (
        Rejected,
        "INSUFFICIENT_ACCESS_OR_READONLY INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY INSUFFICIENT_ACCESS",
        "the integration user lacks a right to it, or to a record it refers to",
    ),
    (Rejected, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "a trigger or flow of the org failed: its admin can see why"),
    (Rejected, "STORAGE_LIMIT_EXCEEDED", "the org is full: its admin has to make room"),
    # whoever owns the record
    (Rejected, "REQUIRED_FIELD_MISSING", "give it a value at the source, or in the mapping"),
    (Rejected, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "a validation rule of the org: correct the record at the source"),
    (Rejected, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "use a value of the list, or map it to one"),
    (
        Rejected,
        "STRING_TOO_LONG INVALID_EMAIL_ADDRESS NUMBER_OUTSIDE_VALID_RANGE FIELD_INTEGRITY_EXCEPTION",
        "correct the value at the source",
    ),
    (
        Rejected,
        "DUPLICATE_VALUE DUPLICATE_EXTERNAL_ID",
        "another record has this value: correct one of them, or match by this field",
    ),
    (Rejected, "INVALID_CROSS_REFERENCE_KEY", "the record, or one it refers to, is not there (any more)"),
    (Rejected, "ENTITY_IS_DELETED", "it was deleted in the org: restore it, or unlink it"),
    (Rejected, "INACTIVE_OWNER_OR_USER", "give it to a user who is active"),
    (Rejected, "CANNOT_UPDATE_CONVERTED_LEAD", "the lead was converted: what became of it is another record"),
)  # fmt: skip
CODES: Mapping[str, tuple[type[EndpointError], str]] = {
    code: (kind, advice) for kind, codes, advice in _VERDICTS for code in codes.split()
}
"""Code -> the class that says who can act (and so whether it is tried again), and what to do. Any other code: Rejected."""

STATUSES: Mapping[int, str] = {
    404: "there is nothing at this address: check `login` and `version` of the connection",
    410: "the org no longer speaks this version of the API: set `version` of the connection",
    413: "the call was too large",
    414: "the address was too long",
    415: "the org does not take a body of this kind",
    431: "the address was too long",
}
"""What a status without a code means. The pages that come with them are not shown."""

CONCURRENT = "too many calls that take long are under way in the org"
USED_UP = "the org's API calls of 24 hours are used up; calls work again as they run out of that window"


def refusal(where: str, body: Any) -> EndpointError | None:
    """The error that a body of Salesforce's describes: `[{errorCode, message, fields}]`, or statusCode in collections."""
    first = body[0] if isinstance(body, list) and body else body
    code = (first.get("errorCode") or first.get("statusCode")) if isinstance(first, dict) else None
    if not isinstance(code, str):
        return None
    kind, advice = CODES.get(code, (Rejected, ""))
    named = first.get("fields")
    said, fields = _sentence(first.get("message")), tuple(map(str, named)) if isinstance(named, list) else ()
    if kind is RateLimited:
        concurrent = "concurrent" in said.lower()
        kind, advice = (Unavailable, CONCURRENT) if concurrent else (RateLimited, USED_UP)
    unsaid = brief(", ".join(name for name in fields if name not in said))
    text = f"{where}: {brief(code)}: {said}{unsaid and f' ({unsaid})'}"
    text = f"{text.rstrip('. ')}; {advice}" if advice else text
    return Rejected(text, code, fields) if kind is Rejected else kind(text)


def _sentence(message: object) -> str:
    """Without the query that is quoted before what is wrong with it, and the lecture behind."""
    text = re.sub(r"(?s).*ERROR at Row:\d+:Column:\d+", "", str(message or ""))
    return brief(text.partition("If you are attempting to use")[0])


def written(host: str, change: Change, result: Mapping[str, Any]) -> Written:
    where, made = f"{host} refused this {change.object}", result.get("id") or change.id
    if not result["success"]:
        error = refusal(where, result.get("errors")) or Rejected(f"{where} without saying why")
        return Written(change.id, error)
    if not made:
        return Written(None, Unanswered(f"{host} wrote a {change.object} and did not say which"))
    return Written(str(canon.id18(made)))
