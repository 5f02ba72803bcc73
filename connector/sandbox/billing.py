"""What a request costs of the org's daily calls, and the header that says how many are used."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import takewhile

from connector.sandbox.errors import ApiError

_DAY = timedelta(hours=24)
_BURST = timedelta(seconds=10)  # [U] what api-bursts counts is not documented


class Billing:
    """A rolling day: a call counts for 24 hours of the org's clock."""

    def __init__(
        self, limit: int, per_client: Mapping[str, tuple[str, int]] | None = None, bursts: int | None = None
    ) -> None:
        self.limit, self.bursts = limit, bursts
        self.per_client = per_client or {}  # client -> (the name it is shown by, its own limit)
        self.by_client: deque[tuple[datetime, str]] = deque()
        self.total = 0
        self.recent: deque[datetime] = deque()

    def used(self, now: datetime) -> int:
        while self.recent and self.recent[0] <= now - _DAY:
            self.recent.popleft()
        return len(self.recent)

    def charge(self, now: datetime, client: str = "") -> None:
        if self.used(now) >= self.limit:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.recent.append(now)
        if client in self.per_client:
            self.by_client.append((now, client))
        self.total += 1

    def header(self, now: datetime, client: str = "") -> dict[str, str]:
        """The daily use; behind it, where the org or the client has such limits, its own use and bursts."""
        parts = [f"api-usage={self.used(now)}/{self.limit}"]
        if client in self.per_client:
            name, limit = self.per_client[client]
            while self.by_client and self.by_client[0][0] <= now - _DAY:
                self.by_client.popleft()
            parts.append(
                f"per-app-api-usage={sum(1 for _, each in self.by_client if each == client)}/{limit}(appName={name})"
            )
        if self.bursts is not None:
            recent = takewhile(lambda moment: moment > now - _BURST, reversed(self.recent))
            parts.append(f"api-bursts={sum(1 for _ in recent)}/{self.bursts}")
        return {"Sforce-Limit-Info": "; ".join(parts)}
