"""Everything that can go wrong, by who can act on it.

ConnectorError                  the message is a sentence: what, where, what would be right
├── SpecError                   the integration engineer: a mapping, connection or example file is wrong (exit 1 from lint, else 2)
├── SetupError                  the admin: a secret, table, right or package is missing (exit 2)
├── StateError                  the admin: the store cannot be opened, read or written (exit 2)
├── LeaseLost                   nobody: another worker took the stream over, this one stops
└── EndpointError               a system answered, or did not
    ├── Unavailable             nobody: ask again later (5xx, no connection, time-out before anything was applied)
    │   ├── Unreachable         no connection at all, or 503: it is down, or the address is wrong
    │   ├── TimedOut            connected, and no whole answer in time
    │   ├── Unanswered          the call may or may not have been applied: look before doing it again
    │   └── RateLimited         the system said how long to wait, or that today's calls are used up
    ├── Unauthorized            the admin: sign in again, or grant a right
    ├── Drifted                 the integration engineer: an object or field is gone from the system
    └── Rejected                the record's owner: this one row was refused, others go on
"""

from __future__ import annotations


class ConnectorError(Exception):
    """An expected failure; `code` is the word that log and outcomes show."""

    code = "failed"


class SpecError(ConnectorError):
    code = "invalid_spec"


class SetupError(ConnectorError):
    code = "setup"


class StateError(ConnectorError):
    code = "state"


class LeaseLost(ConnectorError):
    code = "lease_lost"


class EndpointError(ConnectorError):
    """`side` of a flow, source or target, is filled in by the engine, which knows whom it asked."""

    code, side = "failed", "source"


class Unavailable(EndpointError):
    code = "unavailable"


class Unreachable(Unavailable):
    """Nothing that is asked of the system has an answer, whatever it is asked about."""


class TimedOut(Unavailable):
    """To a call that changes nothing; of another it is Unanswered."""


class Unanswered(Unavailable):
    code = "lost_reply"


class RateLimited(Unavailable):
    """`wait` is in seconds; None: the system did not say, or nothing goes until its daily count is reset."""

    code = "rate_limited"

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Unauthorized(EndpointError):
    code = "not_authenticated"


class Drifted(EndpointError):
    """An object or field that the mapping reads or writes is not there (any more)."""

    code = "unknown_field"


class Rejected(EndpointError):
    """One row was refused. `reason` is the system's own code (`REQUIRED_FIELD_MISSING`), `fields` what it named."""

    code = "rejected"

    def __init__(self, message: str, reason: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.fields = fields
