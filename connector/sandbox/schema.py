"""Turn recorded shapes (describe results without their empty keys) into objects that are looked up in any letter case."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_IDENTIFIER = re.compile(r"[A-Za-z]\w*", re.ASCII)

TEXT = frozenset(
    {"string", "textarea", "picklist", "multipicklist", "phone", "email", "url", "combobox", "encryptedstring"}
)
NUMBER = frozenset({"int", "long", "double", "currency", "percent"})
ID = frozenset({"id", "reference"})
COMPOUND = frozenset({"address", "location"})
# What the org stores and serves. Others (time, anyType, complexvalue) answer 501 where they are used.
STORED = TEXT | NUMBER | ID | {"boolean", "date", "datetime"}
SHOWN = STORED | COMPOUND | {"base64"}  # base64 is kept beside the row and shown as a path


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Field:
    name: str
    label: str
    type: str
    length: int
    nillable: bool
    createable: bool
    updateable: bool
    filterable: bool
    sortable: bool
    defaulted: bool
    restricted: bool
    reference_to: tuple[str, ...]
    relationship: str | None
    picklist: tuple[str, ...]
    initial: str | None
    compound: str | None
    raw: Mapping[str, Any]

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def external_id(self) -> bool:
        """Rows can be found and upserted by it (an idLookup field as well)."""
        return bool(self.raw.get("externalId") or self.raw.get("idLookup")) and self.type in TEXT | NUMBER

    @property
    def long_text(self) -> bool:
        return self.type == "textarea" and self.length > 255


@dataclass(frozen=True)
class Child:
    object: str
    field: str
    relationship: str


@dataclass(frozen=True)
class Object:
    name: str
    label: str
    prefix: str
    fields: tuple[Field, ...]
    children: tuple[Child, ...]
    raw: Mapping[str, Any]

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {field.name.lower(): field for field in self.fields}

    @cached_property
    def parents(self) -> dict[str, Field]:
        return {field.relationship.lower(): field for field in self.fields if field.relationship}

    @cached_property
    def subselects(self) -> dict[str, Child]:
        return {child.relationship.lower(): child for child in self.children}

    @cached_property
    def stored(self) -> tuple[Field, ...]:
        """The fields that have a column; compound ones are put together from their parts."""
        return tuple(field for field in self.fields if field.type in STORED)

    @cached_property
    def blobs(self) -> frozenset[str]:
        """The fields whose bytes lie beside the row."""
        return frozenset(field.name for field in self.fields if field.type == "base64")

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def deletable(self) -> bool:
        return "isdeleted" in self.by_name

    def field(self, name: str) -> Field | None:
        return self.by_name.get(name.lower())

    def parts(self, compound: Field) -> tuple[Field, ...]:
        """The fields that make up an address."""
        return tuple(field for field in self.fields if field.compound == compound.name and field is not compound)


@dataclass(frozen=True)
class Schema:
    objects: Mapping[str, Object]

    def object(self, name: str) -> Object | None:
        return self.objects.get(name.lower())

    @cached_property
    def by_prefix(self) -> dict[str, Object]:
        found: dict[str, Object] = {}
        for shape in self.objects.values():
            if shape.prefix:
                found.setdefault(shape.prefix, shape)  # a ContentNote has the id of its ContentDocument
        return found


def schema(shapes: Iterable[Mapping[str, Any]]) -> Schema:
    found = [_object(shape) for shape in shapes]
    return Schema({shape.name.lower(): shape for shape in found})


def _object(shape: Mapping[str, Any]) -> Object:
    return Object(
        name=_identifier(shape["name"]),
        label=shape.get("label") or shape["name"],
        prefix=shape.get("keyPrefix") or "",
        fields=tuple(_field(field) for field in shape["fields"]),
        children=tuple(
            Child(child["childSObject"], child["field"], child["relationshipName"])
            for child in shape.get("childRelationships", ())
            if child.get("relationshipName")
        ),
        raw=shape,
    )


def _field(raw: Mapping[str, Any]) -> Field:
    entries = [entry for entry in raw.get("picklistValues", ()) if entry.get("active", True)]
    return Field(
        name=_identifier(raw["name"]),
        label=raw.get("label") or raw["name"],
        type=raw["type"],
        length=raw.get("length", 0),
        nillable=raw.get("nillable", False),
        createable=raw.get("createable", False),
        updateable=raw.get("updateable", False),
        filterable=raw.get("filterable", False),
        sortable=raw.get("sortable", False),
        defaulted=raw.get("defaultedOnCreate", False),
        restricted=raw.get("restrictedPicklist", False),
        reference_to=tuple(raw.get("referenceTo", ())),
        relationship=raw.get("relationshipName"),
        picklist=tuple(entry["value"] for entry in entries),
        initial=raw.get("initial") or next((entry["value"] for entry in entries if entry.get("defaultValue")), None),
        compound=raw.get("compoundFieldName"),
        raw=raw,
    )


def _identifier(name: str) -> str:
    # Names become quoted SQL identifiers, so this is also what keeps a shape file from carrying SQL.
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is not an API name")
    return name
