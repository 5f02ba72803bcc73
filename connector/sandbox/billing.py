"""What a request costs of the org's daily calls, and the header that says how many are used (1.3, 3)."""

from collections import deque
from datetime import datetime, timedelta

from connector.sandbox.errors import ApiError

_DAY = timedelta(hours=24)


class Billing:
    """A rolling day: a call counts for 24 hours of the org's clock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self.recent: deque[datetime] = deque()

    def used(self, now: datetime) -> int:
        while self.recent and self.recent[0] <= now - _DAY:
            self.recent.popleft()
        return len(self.recent)

    def charge(self, now: datetime) -> None:
        if self.used(now) >= self.limit:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.recent.append(now)
        self.total += 1

    def header(self, now: datetime) -> dict[str, str]:
        return {"Sforce-Limit-Info": f"api-usage={self.used(now)}/{self.limit}"}
