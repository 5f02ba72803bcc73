"""A folder of shapes, or a YAML file of objects and rows -> what an Org is made of.

The YAML is read strictly: true, false, null and plain decimal numbers are typed, everything else is text (on, NO, 02134, dates).
"""

import json
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SYSTEM_FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Id", "type": "id", "length": 18, "soapType": "tns:ID", "idLookup": True, "defaultedOnCreate": True},
    {"name": "IsDeleted", "type": "boolean", "soapType": "xsd:boolean", "defaultedOnCreate": True},
    {"name": "CreatedDate", "type": "datetime", "soapType": "xsd:dateTime", "defaultedOnCreate": True},
    {"name": "LastModifiedDate", "type": "datetime", "soapType": "xsd:dateTime", "defaultedOnCreate": True},
    {"name": "SystemModstamp", "type": "datetime", "soapType": "xsd:dateTime", "defaultedOnCreate": True},
)
_FLAGS = {"filterable": True, "sortable": True}


@dataclass(frozen=True)
class Fixture:
    shapes: tuple[Mapping[str, Any], ...]
    rows: tuple[Mapping[str, Any], ...]


def shapes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def recorded_shapes() -> Path:
    """The shapes that come with the project: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "mappings" / "shapes"
    return inside if inside.is_dir() else package.parent / "mappings" / "shapes"


def read(path: Path) -> Fixture:
    """Raises ValueError that says what is wrong with the file."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a loader that makes plain data only
    except yaml.YAMLError as wrong:
        raise ValueError(f"{path}: {wrong}") from None
    tree = {"rows": tree} if isinstance(tree, list) else tree or {}
    if not (isinstance(tree, dict) and set(tree) <= {"objects", "rows"}):
        raise ValueError(f"{path}: a list of rows, or the keys objects and rows")
    rows = tree.get("rows") or []
    if not all(isinstance(row, dict) and isinstance(row.get("object"), str) for row in rows):
        raise ValueError(f"{path}: every row is a mapping with the key object")
    objects = tree.get("objects") or {}
    return Fixture(tuple(_shape(name, short) for name, short in objects.items()), tuple(rows))


def _shape(name: str, short: Mapping[str, Any]) -> dict[str, Any]:
    """An object written in short: its fields by type, or with keys as describe spells them."""
    if not isinstance(short, dict) or not isinstance(short.get("keyPrefix"), str):
        message = f"object {name}: keyPrefix (three characters) and fields are needed"
        raise ValueError(message)  # noqa: TRY004  one kind of error for everything wrong with the file
    own = [_field(field, given) for field, given in (short.get("fields") or {}).items()]
    given = {field["name"] for field in own}
    system = [{**_FLAGS, **field, "label": field["name"]} for field in SYSTEM_FIELDS if field["name"] not in given]
    rest = {key: value for key, value in short.items() if key != "fields"}
    return {"name": name, "label": name, **rest, "fields": [*system, *own]}


def _field(name: str, given: Any) -> dict[str, Any]:
    own = {"type": given} if isinstance(given, str) else dict(given)
    length = {} if "length" in own or own.get("type") != "string" else {"length": 255}
    return {
        **_FLAGS,
        "name": name,
        "label": name,
        "nillable": True,
        "createable": True,
        "updateable": True,
        **length,
        **own,
    }


class _Loader(yaml.SafeLoader):
    """SafeLoader with fewer guesses and no duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  what PyYAML declares


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
):
    _firsts = [*_first, ""] if _tag == "null" else list(_first)
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), _firsts)


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = True) -> dict[Hashable, Any]:
    pairs = [(loader.construct_object(key), loader.construct_object(value, deep=deep)) for key, value in node.value]
    found: dict[Hashable, Any] = {}
    for (key, value), (mark, _) in zip(pairs, node.value, strict=True):
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark.start_mark)
        found[key] = value
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
