"""Turn a describe, live or recorded, into a Shape; and a live one into the text that is recorded under mappings/shapes."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connector.errors import SpecError
from connector.model import Child, Field, Option, Shape

# What of a describe is worth recording, in the order of the file; what is false, empty or null is left out.
_OBJECT = ("name", "label", "keyPrefix", "custom")
_FIELD = (
    *("name", "label", "type", "length", "byteLength", "precision", "scale", "digits", "nillable", "defaultedOnCreate"),
    *("createable", "updateable", "calculated", "autoNumber", "externalId", "unique", "caseSensitive", "idLookup"),
    *("filterable", "sortable", "nameField", "custom", "restrictedPicklist", "dependentPicklist", "controllerName"),
    *("compoundFieldName", "extraTypeInfo", "referenceTo", "relationshipName", "soapType"),
)
_PICK = ("active", "defaultValue", "label", "validFor", "value")
_CHILD = ("childSObject", "field", "relationshipName")


def shape_of(describe: Mapping[str, Any]) -> Shape:
    """Works on a raw describe and on a recorded one alike: a key that was left out is false, empty or null."""
    return Shape(
        describe["name"],
        describe.get("label") or describe["name"],
        {entry["name"]: _field(entry) for entry in describe["fields"]},
        {
            entry["relationshipName"]: Child(entry["childSObject"], entry["field"])
            for entry in describe.get("childRelationships") or ()
            if entry.get("relationshipName")
        },
    )


def _field(entry: Mapping[str, Any]) -> Field:
    return Field(
        entry["name"],
        entry.get("type") or "string",
        entry.get("length") or 0,
        bool(entry.get("nillable")),
        bool(entry.get("defaultedOnCreate")),
        bool(entry.get("createable")),
        bool(entry.get("updateable")),
        bool(entry.get("calculated")),
        bool(entry.get("filterable")),
        bool(entry.get("externalId")),
        bool(entry.get("restrictedPicklist")),
        tuple(pick["value"] for pick in entry.get("picklistValues") or () if pick.get("active")),
        tuple(entry.get("referenceTo") or ()),
        entry.get("relationshipName") or None,
        bool(entry.get("unique")),
        tuple(_option(pick) for pick in entry.get("picklistValues") or ()),
        entry.get("controllerName") if entry.get("dependentPicklist") else None,
    )


def _option(pick: Mapping[str, Any]) -> Option:
    return Option(pick["value"], pick.get("label") or pick["value"], bool(pick.get("active")), pick.get("validFor"))


OPTION = Shape(
    "picklist",
    "value of a picklist",
    {
        name: Field(name, type_)
        for name, type_ in (("value", "string"), ("label", "string"), ("index", "int"), ("active", "boolean"))
    },
)
"""What the rows of a picklist look like."""


def valid(field: Field, shape: Shape, value: Any) -> list[Option] | None:
    """The values of a dependent picklist that go with this value of its controller; None: the field depends on none.

    An entry without bits is valid for no value, and a short bitmap counts as zeros.
    """
    controller = shape.fields.get(field.controller or "")
    if controller is None:
        return None
    names = [option.value for option in controller.options]
    if controller.type == "boolean":
        names, value = ["false", "true"], str(bool(value)).lower()
    place = names.index(value) if value in names else None
    return [option for option in field.options if place is not None and _bit(option.valid_for, place)]


def _bit(bitmap: str | None, place: int) -> bool:
    try:
        octets = b64decode(bitmap or "")
    except ValueError:
        return False
    return place // 8 < len(octets) and bool(octets[place // 8] & 0x80 >> place % 8)


def dump(describe: Mapping[str, Any]) -> str:
    """A describe as a file of mappings/shapes: the same describe always gives the same text."""
    kept = _kept(describe, _OBJECT)
    kept["fields"] = [
        _kept(entry, _FIELD) | _picks(entry) for entry in sorted(describe["fields"], key=lambda entry: entry["name"])
    ]
    children = [_kept(entry, _CHILD) for entry in describe.get("childRelationships") or ()]
    children = [entry for entry in children if "relationshipName" in entry]
    kept["childRelationships"] = sorted(children, key=lambda entry: str(entry["relationshipName"]))
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def _kept(entry: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: entry[key] for key in keys if entry.get(key)}


def _picks(entry: Mapping[str, Any]) -> dict[str, Any]:
    picks = [_kept(pick, _PICK) for pick in entry.get("picklistValues") or ()]
    return {"picklistValues": picks} if picks else {}


def load(path: Path) -> dict[str, Shape]:
    """The recorded shapes of a folder (every .json in it) or of one file, by object name."""
    shapes: dict[str, Shape] = {}
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        try:
            shape = shape_of(json.loads(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise SpecError(f"{file}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SpecError(f"{file}: not a recorded describe; it needs name, fields and their names") from None
        shapes[shape.name] = shape
    return shapes
