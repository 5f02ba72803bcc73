"""Every way a request can end without a result, as Salesforce words it: status, code, message, fields."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ApiError(Exception):
    """A refusal in the REST layout: an array with one object."""

    status: int
    code: str
    message: str
    fields: tuple[str, ...] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    page: str | None = None  # HTML that comes instead
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> list[dict[str, Any]]:
        return [{"message": self.message, "errorCode": self.code, **self._fields(), **self.more}]

    def row(self) -> dict[str, Any]:
        """The same refusal inside a collection, where the key is called statusCode."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields or ()), **self.more}

    def _fields(self) -> dict[str, list[str]]:
        return {} if self.fields is None else {"fields": list(self.fields)}


@dataclass
class OAuthError(Exception):
    """A refusal of the token endpoint: an object, not an array."""

    error: str
    description: str
    status: int = 400

    def body(self) -> dict[str, str]:
        return {"error": self.error, "error_description": self.description}


class HangUp(Exception):
    """Close the connection without an answer."""


def not_emulated(what: str) -> ApiError:
    """What Salesforce knows and this org does not: said plainly instead of guessed."""
    return ApiError(501, "NOT_IMPLEMENTED_IN_SANDBOX", f"{what} is not emulated by the sandbox org")


def not_found() -> ApiError:
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")


def session_invalid() -> ApiError:
    return ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")


def bad_json(message: str) -> ApiError:
    return ApiError(400, "JSON_PARSER_ERROR", message)
