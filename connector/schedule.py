"""What is due now, and when next. Counted from due time to due time, so that a late run does not shift those after it."""

from __future__ import annotations

from datetime import datetime, timedelta


def slot(previous: datetime | None, every: timedelta | None, now: datetime) -> datetime:
    """The due time that a run starting now serves: the last one up to now, counted from the previous one."""
    if previous is None or every is None or previous > now:
        return now
    return previous + (now - previous) // every * every


def due(last: datetime | None, every: timedelta | None, now: datetime, *, enabled: bool = True) -> datetime | None:
    """When the next run is due, `last` being the slot of the latest one. Overdue is now, once; None while paused or manual."""
    if not enabled or every is None:
        return None
    return now if last is None else max(last + every, now)
