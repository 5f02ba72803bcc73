"""A folder of shapes, or a YAML file of objects, rows, users, clients, rules and faults -> what an Org is made of.

The YAML is read strictly: true, false, null and plain decimal numbers are typed, everything else is text (on, NO, 02134, dates).
"""

import json
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
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
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()
    users: tuple[Mapping[str, Any], ...] = ()
    clients: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    org: Mapping[str, Any] = field(default_factory=dict)  # what Org takes besides


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
    if not (isinstance(tree, dict) and set(tree) <= _LISTS | _MAPPINGS):
        raise ValueError(f"{path}: a list of rows, or the keys objects and rows, users, clients, rules, faults, org")
    for key, given in tree.items():
        fits = _is_list(given) if key in _LISTS else _is_mapping(given)
        if given is not None and not fits:
            raise ValueError(f"{path}: {key} is {'a list of mappings' if key in _LISTS else 'a mapping of names'}")
    found: dict[str, Any] = {
        key: tuple(given) if key in _LISTS else given for key, given in tree.items() if given is not None
    }
    if not all(isinstance(row.get("object"), str) for row in found.get("rows", ())):
        raise ValueError(f"{path}: every row is a mapping with the key object")
    return Fixture(**{**found, "clients": _with_certificates(path, found.get("clients", {}))})


_LISTS = frozenset({"rows", "users", "faults"})
_MAPPINGS = frozenset({"objects", "clients", "rules", "org"})


def _is_list(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, dict) for each in given)


def _is_mapping(given: Any) -> bool:
    return isinstance(given, dict) and all(isinstance(name, str) for name in given)


def _with_certificates(path: Path, clients: Mapping[str, Any]) -> dict[str, Any]:
    """certificate_file: server.crt, beside the YAML -> the text itself."""
    made = {}
    for name, given in clients.items():
        made[name] = given
        if isinstance(given, dict) and "certificate_file" in given:
            rest = {key: value for key, value in given.items() if key != "certificate_file"}
            text = (path.parent / str(given["certificate_file"])).read_text(encoding="utf-8")
            made[name] = {**rest, "certificate": text}
    return made


def merged(recorded: Iterable[Mapping[str, Any]], objects: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Recorded shapes with the objects of a file: new ones, and fields and record types that known ones gain."""
    found = {str(shape["name"]).lower(): shape for shape in recorded}
    for name, short in objects.items():
        before = found.get(name.lower())
        found[name.lower()] = _changed(before, name, short) if before else _shape(name, short)
    return list(found.values())


def _changed(shape: Mapping[str, Any], name: str, short: Mapping[str, Any]) -> dict[str, Any]:
    _check_object(name, short)
    fields = {str(field["name"]).lower(): field for field in shape["fields"]}
    for field_name, given in (short.get("fields") or {}).items():
        known = fields.get(field_name.lower())
        fields[field_name.lower()] = {**known, **_written(name, given)} if known else _field(field_name, given)
    rest = {key: value for key, value in short.items() if key not in ("fields", "name")}
    return {**shape, **rest, "fields": list(fields.values())}


def _check_object(name: str, short: Any) -> None:
    if not _is_mapping(short) or not _is_mapping(short.get("fields") or {}):
        raise ValueError(f"object {name}: a mapping with keyPrefix (three characters), fields and recordTypes")


def _shape(name: str, short: Mapping[str, Any]) -> dict[str, Any]:
    """An object written in short: its fields by type, or with keys as describe spells them."""
    _check_object(name, short)
    if not isinstance(short.get("keyPrefix"), str):
        message = f"object {name}: keyPrefix (three characters) and fields are needed"
        raise ValueError(message)  # noqa: TRY004  one kind of error for everything wrong with the file
    own = [_field(field, given) for field, given in (short.get("fields") or {}).items()]
    given = {field["name"] for field in own}
    system = [{**_FLAGS, **field, "label": field["name"]} for field in SYSTEM_FIELDS if field["name"] not in given]
    rest = {key: value for key, value in short.items() if key != "fields"}
    return {"name": name, "label": name, **rest, "fields": [*system, *own]}


def _written(name: str, given: Any) -> dict[str, Any]:
    """A type alone, or keys of describe; `values` is short for picklistValues."""
    own = {"type": given} if isinstance(given, str) else dict(given) if _is_mapping(given) else None
    if own is None:
        raise ValueError(f"field {name}: a type, or a mapping of the keys that describe has")
    values = own.pop("values", None)
    if values is None:
        return own
    if not isinstance(values, list) or not all(isinstance(each, str) or "value" in (each or ()) for each in values):
        raise ValueError(f"field {name}: values is a list of texts, or of mappings with value, label, validFor")
    entries = [{"value": each} if isinstance(each, str) else each for each in values]
    return {**own, "picklistValues": [{"label": each["value"], "active": True, **each} for each in entries]}


def _field(name: str, given: Any) -> dict[str, Any]:
    own = _written(name, given)
    if "type" not in own:
        raise ValueError(f"field {name}: a type is needed")
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
