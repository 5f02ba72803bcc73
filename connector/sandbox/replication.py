"""GET /sobjects/X/updated and /deleted: windows, how far back they reach, and up to when the answer is complete."""

from datetime import UTC, datetime, timedelta

from connector.sandbox import recycle, values
from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.errors import ApiError
from connector.sandbox.org import Org
from connector.sandbox.resources import known
from connector.sandbox.schema import Object

MOST_IDS = 600_000
UPDATED_BACK, DELETED_BACK = timedelta(days=30), timedelta(days=15)
_SHORTEST = timedelta(minutes=1)


def updated(org: Org, call: Call, name: str) -> Reply:
    shape = _replicateable(known(org, name))
    start, end = _window(org, call, UPDATED_BACK)
    found = recycle.updated(org.records, shape, start, end)
    if len(found) > MOST_IDS:
        message = f"The request holds more than {MOST_IDS} ids; ask for a shorter time"  # [U] sentence
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)
    return reply(200, {"ids": found, "latestDateCovered": _covered(org, end)})


def deleted(org: Org, call: Call, name: str) -> Reply:
    shape = _replicateable(known(org, name))
    start, end = _window(org, call, DELETED_BACK)
    found = recycle.deleted(org.records, shape, start, end)
    return reply(
        200,
        {
            "deletedRecords": [{"id": each, "deletedDate": moment} for each, moment in found],
            "earliestDateAvailable": values.stamp(org.now() - DELETED_BACK),
            "latestDateCovered": _covered(org, end),
        },
    )


def _covered(org: Org, end: datetime) -> str:
    """Not beyond now, and not beyond what is still on its way into the org."""
    moment = values.stamp(min(end, org.now()))
    pending = org.late.oldest()
    return min(moment, pending) if pending else moment


def _replicateable(shape: Object) -> Object:
    if shape.raw.get("replicateable") is False or not (shape.deletable and shape.field("SystemModstamp")):
        message = f"entity type {shape.label} is not replicateable"  # [U] code and sentence
        raise ApiError(400, "INVALID_TYPE_FOR_OPERATION", message)
    return shape


def _window(org: Org, call: Call, back: timedelta) -> tuple[datetime, datetime]:
    start, end = _moment(call, "start"), _moment(call, "end")
    # [U] sentences; the code and the rules are documented
    if end - start <= _SHORTEST:
        raise _invalid("startDate must be more than one minute before endDate")
    if start < org.now() - back:
        raise _invalid(f"startDate cannot be more than {back.days} days ago")
    return start, end


def _moment(call: Call, name: str) -> datetime:
    text = call.query.get(name, "").replace(" ", "+")  # a plus that was not encoded
    found = values.instant(text)
    if found is None:
        raise _invalid(f"{name} is not a date and time: {text}")
    return datetime.fromisoformat(found).astimezone(UTC)


def _invalid(sentence: str) -> ApiError:
    return ApiError(400, "INVALID_REPLICATION_DATE", sentence)
