"""FORMAT(): a stored value -> the text that a user of the locale en_US sees. Numbers, dates and moments; nulls stay nulls.

The forms of dates, moments and currencies are those of the page on FORMAT; [U] percents, negative currencies, rounding.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from connector.sandbox.schema import NUMBER

LOCALE = "en_US"
FORMATTED = NUMBER | {"date", "datetime"}


def localized(value: str | None, kind: str, scale: int, zone: str) -> str | None:
    if value is None:
        return None
    if kind == "date":
        return _day(date.fromisoformat(value))
    if kind == "datetime":
        moment = datetime.fromisoformat(value).astimezone(ZoneInfo(zone))
        return f"{_day(moment)}, {moment.hour % 12 or 12}:{moment:%M} {'PM' if moment.hour >= 12 else 'AM'}"
    number = float(value)
    text = f"{abs(number):,.{scale}f}"
    sign = "-" if number < 0 else ""
    return f"{sign}${text}" if kind == "currency" else f"{sign}{text}{'%' if kind == 'percent' else ''}"


def _day(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"
