"""Create, change and delete rows as a client (with Salesforce's checks) or as a fixture (without them)."""

import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import date, datetime
from typing import Any

from connector.sandbox import ids, values
from connector.sandbox import rules as demands
from connector.sandbox.access import may
from connector.sandbox.errors import ApiError, bad_json, not_emulated, not_found
from connector.sandbox.schema import STORED, Field, Object, Schema
from connector.sandbox.store import Row, Store
from connector.sandbox.users import USER_ID

# [U] what counts as an address: one @ between what has no blanks, and a dot in the domain.
_ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")

Maker = Callable[["Records", Object, Mapping[str, Any], datetime], str]


class Several(Exception):
    """An external id that names more than one row."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(found)
        self.ids = found


class Records:
    """Rows change on behalf of one user. A client's writes come with the shapes which that user sees; what the org itself
    fills in and demands goes by the whole ones."""

    def __init__(self, schema: Schema, store: Store) -> None:
        self.schema, self.store = schema, store
        self.rules: dict[str, demands.Rules] = {}
        self.locks: dict[str, int] = {}  # id -> how many writes that touch the row fail
        self.makers: Mapping[str, Maker] = {}  # of the objects whose creation brings more with it
        self.user = USER_ID
        self.allow_duplicates = False

    def on_behalf(self, user: str, *, allow_duplicates: bool) -> "Records":
        own = copy(self)
        own.user, own.allow_duplicates = user, allow_duplicates
        return own

    # -- as a client

    def create(self, shape: Object, given: Mapping[str, Any], now: datetime) -> str:
        whole, maker = self.schema.objects[shape.name.lower()], self.makers.get(shape.name)
        if maker is None or may(whole, "createable"):  # what nobody can create is refused in words of its own
            _demand(shape, "createable")
        if maker is not None:
            return maker(self, shape, given, now)
        row = self.accepted(shape, given, creating=True)
        self.check_rules(shape, row)
        return self.insert(whole, row, now)

    def update(self, shape: Object, id18: str, given: Mapping[str, Any], now: datetime) -> None:
        _demand(shape, "updateable")
        row = self.accepted(shape, given, creating=False)
        whole = self.schema.objects[shape.name.lower()]
        before = self._live(whole, id18)
        if before.get("IsConverted") == "true":
            raise ApiError(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", ())  # [U] sentence
        self.check_rules(whole, row, id18, before)
        self.change(whole, id18, row, now)

    def find(self, shape: Object, name: str, value: Any) -> tuple[Field, list[str]]:
        """The rows that an external id names; more than one is the caller's 300."""
        field = shape.field(name)
        if field is None or not field.external_id:
            message = f"Provided external ID field does not exist or is not accessible: {name}"
            raise ApiError(404, "NOT_FOUND", message)
        stored = values.accept(field, value)
        return field, [] if stored is None else self.store.matching(shape, field, stored)

    def upsert(self, shape: Object, name: str, value: Any, given: Mapping[str, Any], now: datetime) -> tuple[str, bool]:
        """(id, whether it was made). Raises Several where the value is not unique."""
        field, found = self.find(shape, name, value)
        if len(found) > 1:
            raise Several(found)
        if found:
            self.update(shape, found[0], given, now)
            return found[0], False
        return self.create(shape, {field.name: value, **given}, now), True

    def check_delete(self, shape: Object, id18: str) -> None:
        if not shape.deletable:
            raise not_emulated(f"Deleting a {shape.name}")
        _demand(shape, "deletable")
        self._live(shape, id18)

    def accepted(self, shape: Object, given: Mapping[str, Any], *, creating: bool) -> Row:
        row: Row = {}
        for name, value in given.items():
            if name.lower() == "attributes":
                _check_type(shape, value)
                continue
            field = shape.field(name)
            if field is None:
                lookup = shape.parents.get(name.lower())
                if lookup is not None and isinstance(value, Mapping):
                    row[lookup.name] = self._by_external_id(lookup, value)
                    continue
                if lookup is not None or name.lower() in shape.subselects:
                    raise not_emulated(f"A nested {name} in a write")
                raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {shape.name}")
            if not (field.createable if creating else field.updateable):
                raise _read_only(field)
            row[field.name] = self._value(field, value)
            if field.name == "RecordTypeId":
                self._check_record_type(shape, field, row[field.name])
        return row

    def _by_external_id(self, lookup: Field, given: Mapping[str, Any]) -> str:
        """{"Account": {"Number__c": "A-1"}}: the row that a lookup leads to, named by an external id."""
        names = list(given)
        if "attributes" in names[1:]:
            raise bad_json("attributes must come before the fields of a nested object")  # [U] sentence
        attributes = given.get("attributes")
        kind = attributes.get("type") if isinstance(attributes, Mapping) else None
        target = self.schema.object(kind if isinstance(kind, str) else lookup.reference_to[0])
        keys = [name for name in names if name != "attributes"]
        if target is None or target.name not in lookup.reference_to or len(keys) != 1:
            # [U] code and sentence
            raise ApiError(400, "INVALID_FIELD", f"{lookup.relationship} takes one external id field of a known type")
        field, found = self.find(target, keys[0], given[keys[0]])
        if len(found) != 1:
            sentence = (
                f"Foreign key external ID: {given[keys[0]]} not found for field {field.name} in entity {target.name}"
                if not found
                else f"More than one record found for external id field: [{', '.join(found)}]"
            )
            raise ApiError(400, "INVALID_FIELD", sentence, ())  # [U] as commonly seen
        return found[0]

    def _check_record_type(self, shape: Object, field: Field, id18: str | None) -> None:
        kinds = self.schema.object("RecordType")
        kind = self.store.get(kinds, id18) if kinds and id18 else None
        if kind is not None and (kind["SobjectType"] != shape.name or kind["IsActive"] == "false"):
            message = f"{field.label}: this ID value isn't valid for the user: {id18}"  # [U] code and sentence
            raise ApiError(400, "INVALID_CROSS_REFERENCE_KEY", message, (field.name,))

    def _value(self, field: Field, value: Any) -> str | None:
        if field.type not in STORED | {"base64"}:
            raise not_emulated(f"Writing a field of type {field.type}")
        stored = values.accept(field, value)
        if field.type == "boolean" and stored is None:
            message = f"{field.label}: value not of required type"
            raise ApiError(400, "INVALID_TYPE_ON_FIELD_IN_RECORD", message, (field.name,))
        if field.type == "email" and stored is not None and not _ADDRESS.fullmatch(stored):
            message = f"{field.label}: invalid email address: {value}"
            raise ApiError(400, "INVALID_EMAIL_ADDRESS", message, (field.name,))
        if field.type == "reference" and stored is not None:
            self._check_reference(field, stored)
        return stored

    def _check_reference(self, field: Field, id18: str) -> None:
        target = self.schema.by_prefix.get(id18[:3])
        if target is None and not all(self.schema.object(name) for name in field.reference_to):
            return  # may well be a row of an object whose shape the org does not have
        if target is None or target.name not in field.reference_to:
            # [U] code and sentence as commonly seen
            message = f"{field.label}: id value of incorrect type: {id18}"
            raise ApiError(400, "FIELD_INTEGRITY_EXCEPTION", message, (field.name,))
        row = self.store.get(target, id18)
        if row is None:
            raise ApiError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", ())
        if row.get("IsDeleted") == "true":
            raise ApiError(400, "ENTITY_IS_DELETED", "entity is deleted", ())
        if field.name == "OwnerId" and row.get("IsActive") == "false":
            message = f"operation performed with inactive user [{id18}] as owner"  # [U] sentence
            raise ApiError(400, "INACTIVE_OWNER_OR_USER", message, ())

    def _check_activity(self, row: Row, before: Row) -> None:
        """A task or an event of a lead is related to nothing else."""
        who, what = (row.get(name, before.get(name)) for name in ("WhoId", "WhatId"))
        person = self.schema.by_prefix.get(who[:3]) if who and what else None
        if person is not None and person.name == "Lead":
            message = "Related To ID: a row of a lead has none"  # [U] code and sentence
            raise ApiError(400, "FIELD_INTEGRITY_EXCEPTION", message, ("WhatId",))

    def _live(self, shape: Object, id18: str) -> Row:
        row = self.store.get(shape, id18)
        if row is None:
            raise not_found()
        if row.get("IsDeleted") == "true":
            raise ApiError(404, "ENTITY_IS_DELETED", "entity is deleted", ())
        self._unlocked(id18)
        return row

    def _unlocked(self, *touched: str | None) -> None:
        """A write locks its row and the rows it refers to; a row that a test has locked is held by somebody else."""
        for id18 in touched:
            if id18 is not None and self.locks.get(id18, 0) > 0:
                self.locks[id18] -= 1
                raise ApiError(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", ())

    def check_rules(self, shape: Object, row: Row, id18: str | None = None, before: Row | None = None) -> None:
        """What the org demands of a row that is made, or changed from what it was before."""
        self._unlocked(*(row.get(field.name) for field in shape.stored if field.type == "reference"))
        self._check_activity(row, before or {})
        own = self.rules.get(shape.name, demands.OFF)
        if own is demands.OFF:
            return
        whole = self.schema.objects[shape.name.lower()]
        after = {**(self._defaults(whole) if before is None else before), **row}
        write = demands.Write(whole, id18, row, after, self.allow_duplicates)
        demands.check(own, write, lambda field, value: self.store.matching(whole, field, value))

    # -- as a fixture, or a user in the UI

    def load(self, rows: Iterable[Mapping[str, Any]], now: datetime) -> list[str]:
        """Insert or change rows as given, ids and system fields included."""
        return [self._load(row, now) for row in rows]

    def _load(self, given: Mapping[str, Any], now: datetime) -> str:
        shape = self.known(given.get("object"))
        row = self._trusted(shape, {name: value for name, value in given.items() if name != "object"})
        id18 = row.pop("Id", None) or self.store.new_id(shape)
        if not id18.startswith(shape.prefix):
            raise ValueError(f"{id18} is not an id of {shape.name}: those start with {shape.prefix}")
        modified = row.get("LastModifiedDate")
        if modified is not None:
            row.setdefault("SystemModstamp", modified)
        if self.store.exists(shape, id18):
            self._compose(shape, id18, row)
            self.store.update(shape, id18, row)
            return id18
        created = row.get("CreatedDate") or values.stamp(now)
        modified = modified or created
        stamps = {"CreatedDate": created, "LastModifiedDate": modified, "SystemModstamp": modified}
        known = {name: moment for name, moment in stamps.items() if shape.field(name)}
        return self.insert(shape, {**known, **row, "Id": id18}, now)

    def edit(self, name: str, record_id: str, given: Mapping[str, Any], now: datetime) -> None:
        shape = self.known(name)
        row = self._trusted(shape, given)
        self.change(shape, self.known_id(shape, record_id), row, now)

    def known(self, name: object) -> Object:
        found = self.schema.object(name) if isinstance(name, str) else None
        if found is None:
            raise ValueError(f"the org has no object {name!r}")
        return found

    def known_id(self, shape: Object, record_id: str) -> str:
        id18 = ids.canonical(record_id)
        if id18 is None or not self.store.exists(shape, id18):
            raise ValueError(f"{shape.name} has no row {record_id!r}")
        return id18

    def _trusted(self, shape: Object, given: Mapping[str, Any]) -> Row:
        row: Row = {}
        for name, value in given.items():
            field = shape.field(name)
            if field is None or field.type not in STORED | {"base64"}:
                raise ValueError(f"{shape.name} has no field {name!r} that can be given")
            try:
                row[field.name] = values.accept(field, value.isoformat() if isinstance(value, date) else value)
            except ApiError as refused:
                raise ValueError(f"{shape.name}.{field.name}: {refused.message}") from None
        return row

    # -- rows

    def insert(self, shape: Object, row: Row, now: datetime) -> str:
        id18 = row.get("Id") or self.store.new_id(shape)
        moment = values.stamp(now)
        system = {name: moment for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp") if shape.field(name)}
        whole: Row = {**self._defaults(shape), **system, **row, "Id": id18}
        if shape.custom and whole.get("Name") is None and shape.field("Name"):
            whole["Name"] = id18  # [U] a custom object's name, left out, is the id
        _compose_name(shape, whole)
        self.store.insert(shape, whole)
        return id18

    def change(self, shape: Object, id18: str, row: Row, now: datetime) -> None:
        moment = values.stamp(now)
        stamps: Row = {"LastModifiedDate": moment, "LastModifiedById": self.user, "SystemModstamp": moment}
        row = {**row, **{name: value for name, value in stamps.items() if shape.field(name)}}
        self._compose(shape, id18, row)
        self.store.update(shape, id18, row)

    def _defaults(self, shape: Object) -> Row:
        """What an org fills in by itself."""
        row: Row = {}
        for field in shape.stored:
            if field.type == "boolean":
                row[field.name] = "false"
            elif field.type == "reference" and field.defaulted and "User" in field.reference_to:
                row[field.name] = self.user
            elif field.initial is not None and field.defaulted:
                row[field.name] = field.initial
        return row

    def _compose(self, shape: Object, id18: str, row: Row) -> None:
        if {"FirstName", "LastName"} & row.keys():
            whole = {**(self.store.get(shape, id18) or {}), **row}
            _compose_name(shape, whole)
            row["Name"] = whole["Name"]


def _compose_name(shape: Object, row: Row) -> None:
    """Name of a person is read-only and made of its parts."""
    name = shape.field("Name")
    if name is not None and not name.createable and shape.field("LastName"):
        row["Name"] = " ".join(part for part in (row.get("FirstName"), row.get("LastName")) if part) or None


def _demand(shape: Object, flag: str) -> None:
    if not may(shape, flag):
        # [U] sentence; whether a missing permission for the whole object is told in the same way
        raise ApiError(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", ())


def _check_type(shape: Object, attributes: Any) -> None:
    """A record may say its type; it is then the type of the url."""
    kind = attributes.get("type", shape.name) if isinstance(attributes, Mapping) else shape.name
    if not isinstance(kind, str) or kind.lower() != shape.name.lower():
        message = f"The record is of type {kind}, the request is for {shape.name}"
        raise ApiError(400, "INVALID_TYPE", message)  # [U] code and sentence


def _read_only(field: Field) -> ApiError:
    message = (
        f"Unable to create/update fields: {field.name}. Please check the security settings of this field and verify that it is "
        "read/write for your profile or permission set."
    )
    return ApiError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, (field.name,))
