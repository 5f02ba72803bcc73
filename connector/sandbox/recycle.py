"""The recycle bin: a delete and what goes with it, undelete, merge; and getUpdated, getDeleted."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from connector.sandbox import values
from connector.sandbox.records import Records
from connector.sandbox.schema import Field, Object
from connector.sandbox.store import Row

MOST_LOSERS = 2  # [U] a merge has one master and at most two others


def delete(records: Records, shape: Object, id18: str, now: datetime) -> None:
    """As a client: what is not there, or in the bin already, is refused."""
    records.check_delete(shape, id18)
    put_away(records, records.schema.objects[shape.name.lower()], id18, now)


def purge(records: Records, shape: Object, id18: str, now: datetime) -> None:
    """As a client with the right to it: past the bin. Only getDeleted still tells of the rows."""
    records.check_delete(shape, id18)
    for one, each in put_away(records, records.schema.objects[shape.name.lower()], id18, now):
        records.store.purge(one, each, values.stamp(now))


def remove(records: Records, name: str, record_id: str, now: datetime) -> None:
    """As a user in the UI."""
    shape = records.known(name)
    if not shape.deletable:
        raise ValueError(f"rows of {shape.name} cannot be deleted: the shape has no IsDeleted")
    id18 = records.known_id(shape, record_id)
    if _row(records, shape, id18).get("IsDeleted") == "true":
        raise ValueError(f"{shape.name} {id18} is in the recycle bin already")
    put_away(records, shape, id18, now)


def put_away(records: Records, shape: Object, id18: str, now: datetime) -> list[tuple[Object, str]]:
    """Into the bin, with the rows below that cascade; all with one stamp, by which undelete finds them again."""
    waiting, gone = [(shape, id18)], []
    while waiting:
        one, each = waiting.pop()
        records.change(one, each, {"IsDeleted": "true"}, now)
        gone.append((one, each))
        for child, field in _below(records, one):
            waiting += [
                (child, found) for found in records.store.where(child, {field.name: each, "IsDeleted": "false"})
            ]
    return gone


def undelete(records: Records, name: str, record_id: str, now: datetime) -> None:
    shape = records.known(name)
    id18 = records.known_id(shape, record_id)
    row = _row(records, shape, id18)
    if row.get("IsDeleted") != "true":
        raise ValueError(f"{shape.name} {id18} is not in the recycle bin")
    stamp = row.get("SystemModstamp")
    waiting = [(shape, id18)]
    while waiting:
        one, each = waiting.pop()
        restored: Row = {"IsDeleted": "false"}
        if one.field("MasterRecordId"):
            restored["MasterRecordId"] = None  # [U] what Salesforce does with a merged row that is taken back
        records.change(one, each, restored, now)
        for child, field in _below(records, one):
            gone = {field.name: each, "IsDeleted": "true"}
            if stamp is not None and child.field("SystemModstamp"):
                gone["SystemModstamp"] = stamp
            waiting += [(child, found) for found in records.store.where(child, gone)]


def merge(
    records: Records, name: str, master_id: str, loser_ids: Sequence[str], now: datetime, kept: Mapping[str, Any]
) -> None:
    """The losers' children become the master's; the losers go into the bin and say into what they were merged."""
    shape = records.known(name)
    master, losers = records.known_id(shape, master_id), [records.known_id(shape, each) for each in loser_ids]
    if not 1 <= len(set(losers)) == len(losers) <= MOST_LOSERS or master in losers:
        raise ValueError(f"a merge takes one master and one or {MOST_LOSERS} other rows")
    if not shape.deletable:
        raise ValueError(f"rows of {shape.name} cannot be merged: the shape has no IsDeleted")
    for each in (master, *losers):
        if _row(records, shape, each).get("IsDeleted") == "true":
            raise ValueError(f"{shape.name} {each} is in the recycle bin")
    for loser in losers:
        for child, field in _pointing(records, shape):
            for found in records.store.where(child, {field.name: loser}):
                if found not in losers:
                    records.change(child, found, {field.name: None if found == master else master}, now)
        gone: Row = {"IsDeleted": "true"}
        if shape.field("MasterRecordId"):
            gone["MasterRecordId"] = master
        records.change(shape, loser, gone, now)
    records.edit(name, master, kept, now)


def _row(records: Records, shape: Object, id18: str) -> Row:
    row = records.store.get(shape, id18)
    if row is None:
        raise ValueError(f"{shape.name} has no row {id18!r}")
    return row


def _below(records: Records, shape: Object) -> Iterator[tuple[Object, Field]]:
    for relation in shape.raw.get("childRelationships", ()):
        child = records.schema.object(relation["childSObject"]) if relation.get("cascadeDelete") else None
        field = child.field(relation["field"]) if child and child.deletable else None
        if child and field:
            yield child, field


def _pointing(records: Records, shape: Object) -> Iterator[tuple[Object, Field]]:
    for child in records.schema.objects.values():
        for field in child.stored:
            if shape.name in field.reference_to and field.name != "MasterRecordId":
                yield child, field


# -- what changed between two moments


def updated(records: Records, shape: Object, start: datetime, end: datetime) -> list[str]:
    live = {"IsDeleted": "false"} if shape.deletable else {}
    return [found for found, _ in records.store.between(shape, values.stamp(start), values.stamp(end), live)]


def deleted(records: Records, shape: Object, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """(id, when): a row in the bin does not change any more, so that its stamp is the moment of its delete."""
    window = values.stamp(start), values.stamp(end)
    found = records.store.between(shape, *window, {"IsDeleted": "true"}) + records.store.purged(shape, *window)
    return sorted(found, key=lambda row: (row[1], row[0]))
