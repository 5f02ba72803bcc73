"""Create, change and delete rows as a client (with Salesforce's checks) or as a fixture (without them)."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from connector.sandbox import ids, values
from connector.sandbox.errors import ApiError, not_emulated, not_found
from connector.sandbox.schema import STORED, TEXT, Field, Object, Schema
from connector.sandbox.sessions import USER_ID
from connector.sandbox.store import Row, Store

RULES = frozenset({"required", "length", "picklist"})


class Several(Exception):
    """An external id that names more than one row."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(found)
        self.ids = found


class Records:
    def __init__(self, schema: Schema, store: Store) -> None:
        self.schema, self.store = schema, store
        self.rules: dict[str, frozenset[str]] = {}

    # -- as a client

    def create(self, shape: Object, given: Mapping[str, Any], now: datetime) -> str:
        row = self._accepted(shape, given, creating=True)
        self._check_rules(shape, {**_defaults(shape), **row}, creating=True)
        return self._insert(shape, row, now)

    def update(self, shape: Object, id18: str, given: Mapping[str, Any], now: datetime) -> None:
        row = self._accepted(shape, given, creating=False)
        self._live(shape, id18)
        self._check_rules(shape, row, creating=False)
        self._change(shape, id18, row, now)

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

    def delete(self, shape: Object, id18: str, now: datetime) -> None:
        if not shape.deletable:
            raise not_emulated(f"Deleting a {shape.name}")
        self._live(shape, id18)
        self._change(shape, id18, {"IsDeleted": "true"}, now)

    def _accepted(self, shape: Object, given: Mapping[str, Any], *, creating: bool) -> Row:
        row: Row = {}
        for name, value in given.items():
            if name.lower() == "attributes":
                continue
            field = shape.field(name)
            if field is None:
                if name.lower() in shape.parents or name.lower() in shape.subselects:
                    raise not_emulated(f"A nested {name} in a write")
                raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {shape.name}")
            if not (field.createable if creating else field.updateable):
                raise _read_only(field)
            row[field.name] = self._value(field, value)
        return row

    def _value(self, field: Field, value: Any) -> str | None:
        if field.type not in STORED:
            raise not_emulated(f"Writing a field of type {field.type}")
        stored = values.accept(field, value)
        if field.type == "boolean" and stored is None:
            message = f"{field.label}: value not of required type"
            raise ApiError(400, "INVALID_TYPE_ON_FIELD_IN_RECORD", message, (field.name,))
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

    def _live(self, shape: Object, id18: str) -> Row:
        row = self.store.get(shape, id18)
        if row is None:
            raise not_found()
        if row.get("IsDeleted") == "true":
            raise ApiError(404, "ENTITY_IS_DELETED", "entity is deleted", ())
        return row

    def _check_rules(self, shape: Object, row: Mapping[str, str | None], *, creating: bool) -> None:
        """What an org's own set-up demands: off unless asked for (section 6, item 9). [U] sentences as commonly seen."""
        rules = self.rules.get(shape.name, frozenset())
        if "required" in rules:
            names = [
                field.name for field in shape.fields if _required(field, creating) and (creating or field.name in row)
            ]
            missing = tuple(name for name in names if row.get(name) is None)
            if missing:
                message = f"Required fields are missing: [{', '.join(missing)}]"
                raise ApiError(400, "REQUIRED_FIELD_MISSING", message, missing)
        for name, value in row.items():
            field = shape.by_name[name.lower()]
            if value is None or field.type not in TEXT:
                continue
            if "length" in rules and field.length and len(value) > field.length:
                message = f"{field.label}: data value too large: {value} (max length={field.length})"
                raise ApiError(400, "STRING_TOO_LONG", message, (name,))
            if "picklist" in rules and field.restricted and not set(_choices(field, value)) <= set(field.picklist):
                message = f"{field.label}: bad value for restricted picklist field: {value}"
                raise ApiError(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, (name,))

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
        return self._insert(shape, {**known, **row, "Id": id18}, now)

    def edit(self, name: str, record_id: str, given: Mapping[str, Any], now: datetime) -> None:
        shape = self.known(name)
        row = self._trusted(shape, given)
        self._change(shape, self._known_id(shape, record_id), row, now)

    def remove(self, name: str, record_id: str, now: datetime) -> None:
        shape = self.known(name)
        if not shape.deletable:
            raise ValueError(f"rows of {shape.name} cannot be deleted: the shape has no IsDeleted")
        self._change(shape, self._known_id(shape, record_id), {"IsDeleted": "true"}, now)

    def known(self, name: object) -> Object:
        found = self.schema.object(name) if isinstance(name, str) else None
        if found is None:
            raise ValueError(f"the org has no object {name!r}")
        return found

    def _known_id(self, shape: Object, record_id: str) -> str:
        id18 = ids.canonical(record_id)
        if id18 is None or not self.store.exists(shape, id18):
            raise ValueError(f"{shape.name} has no row {record_id!r}")
        return id18

    def _trusted(self, shape: Object, given: Mapping[str, Any]) -> Row:
        row: Row = {}
        for name, value in given.items():
            field = shape.field(name)
            if field is None or field.type not in STORED:
                raise ValueError(f"{shape.name} has no field {name!r} that can be given")
            try:
                row[field.name] = values.accept(field, value.isoformat() if isinstance(value, date) else value)
            except ApiError as refused:
                raise ValueError(f"{shape.name}.{field.name}: {refused.message}") from None
        return row

    # -- rows

    def _insert(self, shape: Object, row: Row, now: datetime) -> str:
        id18 = row.get("Id") or self.store.new_id(shape)
        moment = values.stamp(now)
        system = {name: moment for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp") if shape.field(name)}
        whole: Row = {**_defaults(shape), **system, **row, "Id": id18}
        if shape.custom and whole.get("Name") is None and shape.field("Name"):
            whole["Name"] = id18  # [U] a custom object's name, left out, is the id
        _compose_name(shape, whole)
        self.store.insert(shape, whole)
        return id18

    def _change(self, shape: Object, id18: str, row: Row, now: datetime) -> None:
        moment = values.stamp(now)
        stamps: Row = {"LastModifiedDate": moment, "LastModifiedById": USER_ID, "SystemModstamp": moment}
        row = {**row, **{name: value for name, value in stamps.items() if shape.field(name)}}
        self._compose(shape, id18, row)
        self.store.update(shape, id18, row)

    def _compose(self, shape: Object, id18: str, row: Row) -> None:
        if {"FirstName", "LastName"} & row.keys():
            whole = {**(self.store.get(shape, id18) or {}), **row}
            _compose_name(shape, whole)
            row["Name"] = whole["Name"]


def _defaults(shape: Object) -> Row:
    """What an org fills in by itself."""
    row: Row = {}
    for field in shape.stored:
        if field.type == "boolean":
            row[field.name] = "false"
        elif field.type == "reference" and field.defaulted and "User" in field.reference_to:
            row[field.name] = USER_ID
        elif field.initial is not None and field.defaulted:
            row[field.name] = field.initial
    return row


def _compose_name(shape: Object, row: Row) -> None:
    """Name of a person is read-only and made of its parts."""
    name = shape.field("Name")
    if name is not None and not name.createable and shape.field("LastName"):
        row["Name"] = " ".join(part for part in (row.get("FirstName"), row.get("LastName")) if part) or None


def _required(field: Field, creating: bool) -> bool:
    return (
        not field.nillable
        and not field.defaulted
        and (field.createable if creating else field.updateable)
        and field.type != "boolean"
    )


def _choices(field: Field, value: str) -> list[str]:
    return value.split(";") if field.type == "multipicklist" else [value]


def _read_only(field: Field) -> ApiError:
    message = (
        f"Unable to create/update fields: {field.name}. Please check the security settings of this field and verify that it is "
        "read/write for your profile or permission set."
    )
    return ApiError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, (field.name,))
