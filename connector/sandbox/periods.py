"""A date literal (LAST_N_DAYS:30, THIS_MONTH ...) and a moment -> the half-open range of days it stands for.

Days are those of the user's zone. A week starts on Sunday and the
fiscal year in January, as in an org with default settings [U].
"""

from datetime import date, timedelta

_UNITS = ("week", "month", "quarter", "year", "fiscal_quarter", "fiscal_year")
NAMES = frozenset({"today", "yesterday", "tomorrow", "last_90_days", "next_90_days"}) | {
    f"{which}_{unit}" for which in ("this", "last", "next") for unit in _UNITS
}
COUNTED = frozenset(f"{which}_n_{unit}s" for which in ("last", "next") for unit in ("day", *_UNITS)) | {
    f"n_{unit}s_ago" for unit in ("day", *_UNITS)
}

Range = tuple[date, date]  # from the first day up to, not including, the second


def days(literal: str, today: date) -> Range:
    """Raises OverflowError when the range leaves the calendar."""
    name, _, count = literal.partition(":")
    name = name.replace("fiscal_", "")
    if name in _FIXED:
        back, length = _FIXED[name]
        start = today + timedelta(days=back)
        return start, start + timedelta(days=length)
    number = int(count or 1)
    which, unit = _split(name)
    if unit == "day":
        return _days(which, number, today)
    first = _start(unit, today)
    if which == "this":
        return first, _move(unit, first, 1)
    if which == "last":
        return _move(unit, first, -number), first
    if which == "next":
        return _move(unit, first, 1), _move(unit, first, number + 1)
    return _move(unit, first, -number), _move(unit, first, 1 - number)  # ago


_FIXED = {"today": (0, 1), "yesterday": (-1, 1), "tomorrow": (1, 1), "last_90_days": (-90, 91), "next_90_days": (1, 90)}


def _split(name: str) -> tuple[str, str]:
    """last_n_weeks -> last, week; n_months_ago -> ago, month; this_year -> this, year"""
    words = [word for word in name.split("_") if word != "n"]
    which, unit = (words[1], words[0]) if words[1] == "ago" else (words[0], words[1])
    return which, unit.removesuffix("s")


def _days(which: str, number: int, today: date) -> Range:
    one = timedelta(days=1)
    span = timedelta(days=number)
    if which == "last":  # n days before midnight today, today included [U]
        return today - span, today + one
    if which == "next":
        return today + one, today + one + span
    return today - span, today - span + one


def _start(unit: str, today: date) -> date:
    if unit == "week":
        return today - timedelta(days=(today.weekday() + 1) % 7)
    if unit == "quarter":
        return today.replace(month=3 * ((today.month - 1) // 3) + 1, day=1)
    return today.replace(day=1) if unit == "month" else today.replace(month=1, day=1)


def _move(unit: str, first: date, steps: int) -> date:
    if unit == "week":
        return first + timedelta(weeks=steps)
    months = first.year * 12 + first.month - 1 + steps * {"month": 1, "quarter": 3, "year": 12}[unit]
    try:
        return date(months // 12, months % 12 + 1, 1)
    except ValueError as out_of_calendar:
        raise OverflowError(str(out_of_calendar)) from None
