"""The record types that a shape names -> recordTypeInfos, the field RecordTypeId and rows of the object RecordType.

    recordTypes:
      Customer: {label: A customer, default: true, picklists: {Industry: [Retail, Energy]}, defaults: {Industry: Retail}}
      Partner: {active: false}

Shapes recorded with recordTypeInfos are taken as they are; their rows are made as well.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.sandbox import ids

NAME = "RecordType"
MASTER = "012000000000000AAA"
_KEYS = frozenset({"id", "label", "description", "active", "default", "picklists", "defaults"})


@dataclass(frozen=True)
class RecordType:
    id: str
    object: str
    name: str
    label: str
    description: str | None
    active: bool
    default: bool
    picklists: Mapping[str, Sequence[str]]  # field -> values, in lower case; not named is unrestricted
    defaults: Mapping[str, str]

    def row(self) -> dict[str, Any]:
        return {
            "object": NAME,
            "Id": self.id,
            "Name": self.label,
            "DeveloperName": self.name,
            "Description": self.description,
            "SobjectType": self.object,
            "IsActive": self.active,
        }

    def info(self) -> dict[str, Any]:
        return {
            "active": self.active,
            "available": self.active,
            "defaultRecordTypeMapping": self.default,
            "developerName": self.name,
            "master": False,
            "name": self.label,
            "recordTypeId": self.id,
        }


def of(shape: Mapping[str, Any]) -> tuple[RecordType, ...]:
    """Without the master one. Raises ValueError that says what is wrong."""
    given = shape.get("recordTypes")
    if given is None:
        return tuple(_recorded(shape, info) for info in shape.get("recordTypeInfos") or () if not info.get("master"))
    if not isinstance(given, Mapping):
        raise ValueError(f"{shape['name']}: recordTypes is a mapping of names")  # noqa: TRY004
    made = tuple(_read(shape, str(name), about or {}) for name, about in given.items())
    if sum(each.default for each in made) > 1:
        raise ValueError(f"{shape['name']}: only one record type is the default")
    return made


def _recorded(shape: Mapping[str, Any], info: Mapping[str, Any]) -> RecordType:
    flags = (info.get("active", True), info.get("defaultRecordTypeMapping", False))
    return RecordType(
        info["recordTypeId"], shape["name"], info["developerName"], info["name"], None, flags[0], flags[1], {}, {}
    )


def _read(shape: Mapping[str, Any], name: str, given: Mapping[str, Any]) -> RecordType:
    place = f"{shape['name']}, record type {name}"
    if not isinstance(given, Mapping) or given.keys() - _KEYS:
        raise ValueError(f"{place}: a mapping of {', '.join(sorted(_KEYS))}")
    fields = {str(field["name"]).lower(): field for field in shape.get("fields", ())}
    for field, values in (given.get("picklists") or {}).items():
        known = [entry["value"] for entry in fields.get(str(field).lower(), {}).get("picklistValues", ())]
        if not isinstance(values, list) or set(values) - set(known):
            raise ValueError(f"{place}: {field} is a picklist of {', '.join(known) or 'nothing'}")
    number = zlib.crc32(f"{shape['name']}.{name}".encode())  # the same whatever stands before it
    return RecordType(
        id=_id(given.get("id") or ids.make("012", number), place),
        object=shape["name"],
        name=name,
        label=str(given.get("label", name.replace("_", " "))),
        description=given.get("description"),
        active=given.get("active", True) is True,
        default=given.get("default", False) is True,
        picklists={str(key).lower(): tuple(values) for key, values in (given.get("picklists") or {}).items()},
        defaults={str(key).lower(): str(value) for key, value in (given.get("defaults") or {}).items()},
    )


def _id(text: Any, place: str) -> str:
    found = ids.canonical(text) if isinstance(text, str) else None
    if found is None or not found.startswith("012"):
        raise ValueError(f"{place}: {text!r} is not an id of a record type")
    return found


def completed(shape: Mapping[str, Any]) -> Mapping[str, Any]:
    """The shape with infos and the field RecordTypeId, where it has record types."""
    own = of(shape)
    if not own:
        return shape
    default = next((each for each in own if each.default), None)
    fields = [field for field in shape["fields"] if field["name"].lower() != "recordtypeid"]
    has_master = any(info.get("master") for info in shape.get("recordTypeInfos") or ())
    infos = shape.get("recordTypeInfos") or [each.info() for each in own]
    return {
        **shape,
        "recordTypeInfos": [*infos, *([] if has_master else [master(default=default is None)])],
        "fields": [*fields, {**_FIELD, **({"initial": default.id} if default else {})}],
    }


def master(*, default: bool = True) -> dict[str, Any]:
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": default,
        "developerName": "Master",
        "master": True,
        "name": "Master",
        "recordTypeId": MASTER,
    }


def shape(objects: Iterable[str]) -> dict[str, Any]:
    """The object RecordType [U: its fields as commonly described]."""
    names = [{"value": name, "label": name, "active": True} for name in sorted(objects)]
    return {
        "name": NAME,
        "label": "Record Type",
        "keyPrefix": "012",
        "createable": True,
        "updateable": True,
        "deletable": False,
        "undeletable": False,
        "searchable": False,
        "layoutable": False,
        "triggerable": False,
        "fields": [
            {"name": "Id", "type": "id", "length": 18, "soapType": "tns:ID", "idLookup": True, **_SYSTEM},
            {"name": "Name", "type": "string", "length": 80, "nameField": True, **_OWN},
            {"name": "DeveloperName", "type": "string", "length": 80, **_OWN},
            {"name": "NamespacePrefix", "type": "string", "length": 15, "nillable": True, **_SYSTEM},
            {"name": "Description", "type": "string", "length": 255, **_OWN, "nillable": True},
            {
                "name": "SobjectType",
                "type": "picklist",
                "length": 40,
                "restrictedPicklist": True,
                "picklistValues": names,
                **_SEEN,
                "createable": True,
            },
            {"name": "IsActive", "type": "boolean", "soapType": "xsd:boolean", "defaultedOnCreate": True, **_OWN},
            {
                "name": "CreatedById",
                "type": "reference",
                "referenceTo": ["User"],
                "relationshipName": "CreatedBy",
                **_STAMP,
            },
            {"name": "CreatedDate", "type": "datetime", "soapType": "xsd:dateTime", **_SYSTEM},
            {
                "name": "LastModifiedById",
                "type": "reference",
                "referenceTo": ["User"],
                "relationshipName": "LastModifiedBy",
                **_STAMP,
            },
            {"name": "LastModifiedDate", "type": "datetime", "soapType": "xsd:dateTime", **_SYSTEM},
            {"name": "SystemModstamp", "type": "datetime", "soapType": "xsd:dateTime", **_SYSTEM},
        ],
    }


_SEEN = {"filterable": True, "sortable": True}
_SYSTEM = {**_SEEN, "defaultedOnCreate": True}
_OWN = {**_SEEN, "createable": True, "updateable": True}
_STAMP = {**_SYSTEM, "length": 18, "soapType": "tns:ID"}
_FIELD = {
    "name": "RecordTypeId",
    "label": "Record Type ID",
    "type": "reference",
    "length": 18,
    "byteLength": 18,
    "soapType": "tns:ID",
    "referenceTo": [NAME],
    "relationshipName": "RecordType",
    "nillable": True,
    "createable": True,
    "updateable": True,
    "defaultedOnCreate": True,
    **_SEEN,
}
