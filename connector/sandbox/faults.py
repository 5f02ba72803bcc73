"""What a test asked to go wrong -> what the next requests that touch an object answer."""

from dataclasses import dataclass
from typing import Literal

from connector.sandbox.errors import ApiError, HangUp

Verb = Literal["read", "write", "any"]
Status = int | Literal["lost_reply", "timeout"]

# status -> Salesforce's code and sentence for it (1.3, 3). [U] marks where only the status is known.
_BODIES: dict[int, tuple[str, str]] = {
    400: ("UNKNOWN_EXCEPTION", "An unexpected error occurred"),  # [U]
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    404: ("NOT_FOUND", "The requested resource does not exist"),
    429: ("REQUEST_LIMIT_EXCEEDED", "Too many requests"),  # [U]
    500: (
        "UNKNOWN_EXCEPTION",
        "An unexpected error occurred. Please include this ErrorId if you contact support: 1-1",
    ),  # [U]
    503: ("SERVER_UNAVAILABLE", "The server is temporarily unavailable"),  # [U] sentence
}


@dataclass
class Fault:
    object: str | None
    verb: Verb
    status: Status
    times: int | None
    code: str | None = None
    message: str | None = None

    def matches(self, objects: frozenset[str], verb: Verb) -> bool:
        return (self.object is None or self.object in objects) and self.verb in ("any", verb)

    def strike(self) -> None:
        """Raise what the request ends with; a lost reply lets it be applied first."""
        if self.status == "lost_reply":
            return
        if self.status == "timeout":
            raise HangUp
        raise self._error(int(self.status))

    def _error(self, status: int) -> ApiError:
        code, message = _BODIES.get(status, ("UNKNOWN_EXCEPTION", "An unexpected error occurred"))
        return ApiError(status, self.code or code, self.message or message)


class Faults:
    """In the order they were asked for; each one is used up after its number of times."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        if isinstance(fault.status, str) and fault.status not in ("lost_reply", "timeout"):
            raise ValueError(f"no fault {fault.status!r}: a status number, lost_reply or timeout")
        if isinstance(fault.status, int) and not 400 <= fault.status <= 599:
            raise ValueError(f"a fault has a status from 400 to 599, not {fault.status}")
        if fault.verb not in ("read", "write", "any"):
            raise ValueError(f"no verb {fault.verb!r}: read, write or any")
        self.waiting.append(fault)

    def take(self, objects: frozenset[str], verb: Verb) -> Fault | None:
        for fault in self.waiting:
            if fault.matches(objects, verb):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.waiting.remove(fault)
                return fault
        return None
