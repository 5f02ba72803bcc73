"""A schema and a user -> the schema as that user sees it: what is hidden is absent, what is read-only says so.

Everything that asks the schema for an object or a field is thereby checked: describe, SOQL, writes, external ids.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector.sandbox.schema import Field, Object, Schema
from connector.sandbox.users import OBJECT_ACCESS, User

_FLAGS = {"create": ("createable",), "edit": ("updateable",), "delete": ("deletable", "undeletable")}


def seen_by(schema: Schema, user: User) -> Schema:
    if not user.objects and not user.fields:
        return schema
    hidden = frozenset(name for name, level in user.objects.items() if level == "none")
    shown = {name: shape for name, shape in schema.objects.items() if name not in hidden}
    return Schema({name: _object(shape, user, hidden) for name, shape in shown.items()})


def may(shape: Object, flag: str) -> bool:
    """Whether the object as seen by the user, or as such, is createable, updateable, deletable."""
    return bool(shape.raw.get(flag, True))


def _object(shape: Object, user: User, hidden: frozenset[str]) -> Object:
    levels = user.fields.get(shape.name.lower(), {})
    fields = tuple(
        _field(field, _level(field, levels), hidden) for field in shape.fields if _level(field, levels) != "none"
    )

    def gone(child: str, field: str) -> bool:
        level = user.fields.get(child.lower(), {}).get(field.lower())
        return child.lower() in hidden or level == "none"

    raw: dict[str, Any] = {**shape.raw, **_flags(user.objects.get(shape.name.lower(), "all"))}
    raw["childRelationships"] = [
        child for child in shape.raw.get("childRelationships", ()) if not gone(child["childSObject"], child["field"])
    ]
    children = tuple(child for child in shape.children if not gone(child.object, child.field))
    return replace(shape, fields=fields, children=children, raw=raw)


def _flags(level: str) -> dict[str, bool]:
    allowed = OBJECT_ACCESS[level]
    return {flag: False for word, flags in _FLAGS.items() if word not in allowed for flag in flags}


def _level(field: Field, levels: Mapping[str, str]) -> str:
    """An address is hidden as a whole: its parts go with it."""
    own = levels.get(field.name.lower(), "all")
    whole = levels.get((field.compound or "").lower(), "all")
    return min((own, whole), key=("none", "read", "all").index)


def _field(field: Field, level: str, hidden: frozenset[str]) -> Field:
    raw = dict(field.raw)
    if level == "read":
        raw |= {"createable": False, "updateable": False}
    relationship = field.relationship
    if field.reference_to and all(name.lower() in hidden for name in field.reference_to):
        # [U] whether a path to an object without access is an unknown relationship
        relationship = raw["relationshipName"] = None
    if raw == field.raw:
        return field
    writable = level != "read"
    createable, updateable = field.createable and writable, field.updateable and writable
    return replace(field, raw=raw, relationship=relationship, createable=createable, updateable=updateable)
