"""An example file with the mapping that it is about, and the facts that it adds to the recorded shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from connector import canon, lint, shape, spec
from connector.errors import SpecError
from connector.model import Shape
from connector.project import Project, refused
from connector.source import At, Source, read


class Suite(msgspec.Struct, frozen=True):
    """Linted, ready to run. `describes` are the recorded shapes as they lie in their files, with the file's own facts."""

    source: Source
    mapping_source: Source
    describes: Mapping[str, Any]
    shapes: Mapping[str, Shape]

    @property
    def tree(self) -> Any:
        return self.source.tree

    def project(self, settings: Mapping[str, Any]) -> Project:
        """The mapping under a connection of these settings, in the connection's own grammar. Nothing is asked of a file."""
        mapping = spec.mapping(self.mapping_source.tree)
        tree = {"connection": "example", "mapping": mapping.mapping, "systems": {}, **settings}
        return Project(Path(self.source.name), Path(), mapping, spec.connection(tree), self.shapes)


def load(path: Path, mapping: Source | None = None) -> Suite:
    """An example file, linted with its mapping. Raises SpecError with every finding."""
    source = read(path)
    refused(lint.check_source(source), [source])
    file = spec.mapping_file(source.tree["mapping"], path.parent)
    describes = _described(file.parent / "shapes", source.tree.get("shapes", {}))
    shapes = {name: shape.shape_of(node) for name, node in describes.items()}
    if mapping or file.is_file():  # else the examples' own findings say that it is not there
        mapping = mapping or read(file)
        refused(lint.check_source(mapping, shapes=shapes), [mapping])
    refused(lint.check_source(source, shapes=shapes, folder=path.absolute().parent), [source])
    if nonsense := list(_nonsense(source)):
        raise SpecError("\n".join(nonsense))
    return Suite(source, mapping or read(file), describes, shapes)


OF_A_VALUE, OF_A_ROW = frozenset({"result"}), frozenset({"fields", "without"})
"""What an example of a value expects, and one of a row; everything else is expected of steps."""

VERBS = ("create", "replace", "update", "delete", "link")


def _nonsense(source: Source) -> Iterator[str]:
    """What the grammar lets pass, and no example can mean: an expectation that nothing looks at would always hold."""
    for n, example in enumerate(source.tree["examples"]):
        at: At = ("examples", n)
        given, expect = example.get("given", {}), example["expect"]
        kind, mine = "steps", frozenset(expect) - OF_A_VALUE - OF_A_ROW
        if "value" in example:
            kind, mine = "a value", OF_A_VALUE
        elif "row" in given:
            kind, mine = "a row", OF_A_ROW
            if "object" not in example:
                yield _said(source, (*at, "given", "row"), "object must say which fields are made of the row")
        for key in expect:
            if key not in mine:
                yield _said(source, (*at, "expect", key), f"{key} cannot be expected of {kind}")
        if "findings" in expect and "lint" not in example.get("steps", ()):
            yield _said(source, (*at, "expect", "findings"), "findings are those of the step lint, which is not there")
        for k, write in enumerate(expect.get("writes", ())):
            verbs = [verb for verb in VERBS if verb in write]
            if len(verbs) != 1:
                said = f"a write has one of {', '.join(VERBS)}; this one has {' and '.join(verbs) or 'none'}"
                yield _said(source, (*at, "expect", "writes", k), said)
        moments = [((*at, "now"), example.get("now"))]
        moments += [((*at, "given", key), given.get(key)) for key in ("last_success", "activated")]
        for place, moment in moments:
            if moment is not None and canon.instant(moment) is None:
                yield _said(source, place, f"there is no moment {moment}")


def _said(source: Source, at: At, what: str) -> str:
    span = source.span(at)
    return f"{source.name}:{span.line}:{span.column}: {what}"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others laid over them, maps within maps."""
    made = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = merged(made[key], value) if both else value
    return made


def _described(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded describes with the facts that an example file adds, by object."""
    described = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))}
    for name, fields in facts.items():
        node = described.setdefault(name, {"name": name, "label": name, "fields": [], "childRelationships": []})
        for field_name, fact in fields.items():
            entry = next((entry for entry in node["fields"] if entry["name"] == field_name), None)
            if entry is None:
                entry = {"name": field_name, "label": field_name, "nillable": True, "filterable": True}
                entry |= {"createable": True, "updateable": True, "type": "string"}
                node["fields"].append(entry)
            entry |= _fact(fact)
    if not described and not folder.is_dir() and facts:
        raise SpecError(f"{folder}: no shapes are recorded")
    return described


def _fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {key: fact[key] for key in ("type", "length") if key in fact}
    if "picklist" in fact:
        values = [{"value": one} if isinstance(one, str) else one for one in fact["picklist"]]
        made["picklistValues"] = [{"active": True, "label": one["value"], **one} for one in values]
    if "controller" in fact:
        made |= {"controllerName": fact["controller"], "dependentPicklist": True}
    if "required" in fact:
        made["nillable"] = not fact["required"]
    if fact.get("readonly"):
        made |= {"createable": False, "updateable": False}
    return made
