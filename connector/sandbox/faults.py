"""What a test asked to go wrong -> what the next requests that match answer, or how they end.

A fault is picked by object, verb and path; it strikes from the n-th matching request on, a number of times, or at random by a
seed and a rate.
"""

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from connector.sandbox.calls import Trace
from connector.sandbox.errors import ApiError, HangUp

Verb = Literal["read", "write", "any"]
Named = Literal["query_timeout", "lock_row", "total_requests", "concurrent_requests"]
# Applied, and then no answer, half of one, or one that takes its time; timeout: not applied; late: applied, but seen later.
Wire = Literal["lost_reply", "timeout", "truncated", "truncated_chunks", "trickled", "late"]
Status = int | Named | Wire

# status -> Salesforce's code and sentence for it. [U] marks where only the status is known.
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
_NAMED: dict[str, tuple[int, str, str]] = {
    "query_timeout": (400, "QUERY_TIMEOUT", "Your query request was running for too long."),  # [U] sentence
    "lock_row": (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
    "total_requests": (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "concurrent_requests": (
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
    ),
}
_BY_ROW = ("lock_row",)  # inside a collection it is told of the row, not of the call
_SECONDS = 1.0


@dataclass
class Fault:
    object: str | None
    verb: Verb
    status: Status
    times: int | None
    code: str | None = None
    message: str | None = None
    path: str | None = None  # with * and ?
    nth: int = 1
    rate: float = 1.0
    seed: int = 0
    seconds: float = _SECONDS
    body: str | None = None  # a page instead of the error array
    seen: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        if isinstance(self.status, str) and self.status not in _NAMED and self.status not in get_args(Wire):
            known = ", ".join([*_NAMED, *get_args(Wire)])
            raise ValueError(f"no fault {self.status!r}: a status number, {known}")
        if isinstance(self.status, int) and not 400 <= self.status <= 599:
            raise ValueError(f"a fault has a status from 400 to 599, not {self.status}")
        if self.verb not in get_args(Verb):
            raise ValueError(f"no verb {self.verb!r}: read, write or any")
        if not isinstance(self.nth, int) or self.nth < 1:
            raise ValueError(f"nth is 1 for the first request, not {self.nth!r}")
        if not isinstance(self.rate, int | float) or not 0 < self.rate <= 1:
            raise ValueError(f"rate is above 0 and at most 1, not {self.rate!r}")
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds <= 86_400:
            raise ValueError(f"seconds are from 0 to a day, not {self.seconds!r}")
        if not isinstance(self.times, int | None):
            raise ValueError(f"times is a number or null, not {self.times!r}")  # noqa: TRY004  one kind of error
        self.chance.seed(self.seed)
        if self.rate < 1:
            for _ in range(self.nth - 1, self.seen):  # one that was kept goes on where it was
                self.chance.random()

    @property
    def by_row(self) -> bool:
        return self.status in _BY_ROW

    def matches(self, objects: frozenset[str], verb: Verb, path: str) -> bool:
        return (
            (self.object is None or self.object in objects)
            and self.verb in ("any", verb)
            and (self.path is None or fnmatchcase(path, self.path))
        )

    def due(self) -> bool:
        """One matching request more: whether it is struck."""
        self.seen += 1
        return self.seen >= self.nth and (self.rate == 1 or self.chance.random() < self.rate)

    def strike(self, trace: Trace) -> None:
        """Raise what the request ends with, or leave a mark of what is to happen to its answer."""
        if self.status == "timeout":
            raise HangUp
        if self.status == "lost_reply":
            trace.hang_up = True
        elif self.status in ("truncated", "truncated_chunks", "trickled"):
            trace.wire, trace.seconds = str(self.status), self.seconds
        elif self.status != "late":
            raise self.error()

    def error(self) -> ApiError:
        if isinstance(self.status, str):
            status, code, message = _NAMED[self.status]
        else:
            status = self.status
            code, message = _BODIES.get(status, ("UNKNOWN_EXCEPTION", "An unexpected error occurred"))
        fields = () if self.by_row else None
        return ApiError(status, self.code or code, self.message or message, fields, page=self.body)


class Faults:
    """In the order they were asked for; each one is used up after its number of times."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.waiting.append(fault)

    def take(
        self, objects: frozenset[str], verb: Verb, path: str, *, rows: bool | None = None, named: bool = False
    ) -> Fault | None:
        """The fault that strikes this request. rows: for one row of a collection (True), for its call as a whole (False).
        named: only what was asked for by path."""
        for fault in self.waiting:
            if (
                (rows is None or fault.by_row == rows)
                and (fault.path or not named)
                and fault.matches(objects, verb, path)
                and fault.due()
            ):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.waiting.remove(fault)
                return fault
        return None
