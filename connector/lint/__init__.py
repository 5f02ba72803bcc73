"""Is a mapping, a connection, an api or an example file right? All independent faults at once, each at its line and column.

The validator that run uses: nothing runs that this refuses, and nothing that this accepts fails to compile. Rules are
generators over a File, or over each object of it; what the grammar refused is silent for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from connector import shape, source, spec
from connector.errors import SpecError
from connector.lint import api, connection, fields, mapping
from connector.lint.file import File, Findings, Object
from connector.lint.findings import CODES, LEVELS, Finding, render_json, render_text
from connector.lint.grammar import check as check_grammar
from connector.lint.grammar import kind_of, sane
from connector.lint.mapping import combinations
from connector.model import Shape
from connector.source import Source, Span

__all__ = ["CODES", "LEVELS", "RULES", "Finding", "check", "check_source", "combinations", "render_json", "render_text"]

RULES: Mapping[str, tuple[Callable[[File], Findings], ...]] = {
    "mapping": (
        *(connection.file_name, connection.names, connection.schedule, mapping.systems, mapping.likes, mapping.words),
        *(mapping.settings, mapping.windows, mapping.pairs, mapping.lookups, fields.objects),
    ),
    "connection": (
        *(connection.file_name, connection.names, connection.mapping_is_there, connection.directions),
        *(connection.systems, connection.schedule, connection.logins, api.described, api.able),
        *(connection.choices, connection.capabilities, connection.files),
    ),
    "api": (connection.file_name, api.paths, api.placeholders, api.fitting, api.signing),
    "examples": (
        *(connection.names, connection.mapping_is_there, connection.directions, connection.examples),
        connection.choices,
    ),
}
OF_AN_OBJECT: tuple[Callable[[File, Object], Findings], ...] = (
    *(connection.reads, mapping.direction, mapping.triggers, mapping.roots, mapping.idle, mapping.keys, mapping.asks),
    *(fields.expressions, fields.paths, fields.selection, fields.picklists, fields.options, fields.targets),
)


def check(path: Path, *, shapes: Mapping[str, Shape] | None = None, among: Collection[Path] = ()) -> list[Finding]:
    """Everything wrong with a file. Shapes are those of the folder `shapes` beside the mapping, unless they are given.

    `among`: the files that are looked at, too; of a mapping that is one of them nothing is said here.
    """
    try:
        read = source.read(path)
    except SpecError as error:
        said = str(error).removeprefix(f"{path}").lstrip(":0123456789 ")
        return [Finding("error", "unreadable_file", said, str(path), Span())]
    return check_source(read, shapes=shapes, folder=path.absolute().parent, among=among)


def check_source(
    read: Source,
    *,
    shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
    among: Collection[Path] = (),
) -> list[Finding]:
    """Everything wrong with a text; without a `folder`, what it says of other files is not looked at."""
    file, found = _opened(read, folder)
    if file:
        path = connection.mapping_path(file) if file.kind != "mapping" else None
        if path and path.is_file():
            file.mapping, there = _mapping(path)
            file.mapping_told = path.resolve() in {each.resolve() for each in among}
            if file.mapping:
                there = [*there, *_rules(file.mapping, shapes, path.parent)]
                file.mapping_errors = len({finding for finding in there if finding.level == "error"})
        file.apis = {name: _api(path) for name, path in api.named(file) if path.is_file()}
        found += _rules(file, shapes, path.parent if path else folder)
    return sorted(dict.fromkeys(found), key=lambda finding: finding.order)


def _opened(read: Source, folder: Path | None) -> tuple[File | None, list[Finding]]:
    """The file without what the grammar refuses; None when nothing can be understood."""
    kind = kind_of(read.tree)
    file = File(read, kind, {}, folder=folder)
    found = [Finding("error", fault.code, fault.message, read.name, fault.span) for fault in read.faults]
    if any(fault.code not in ("duplicate_key", "number_too_long") for fault in read.faults):
        return None, found
    tree = spec.expanded(read.tree) if kind == "mapping" else read.tree
    troubles = check_grammar(tree, kind)
    found += [file.finding(each.code, each.at, each.message, each.hint, key=each.key) for each in troubles]
    file.tree, file.spoiled = sane(tree, troubles), frozenset(trouble.spoils for trouble in troubles)
    return (file if isinstance(file.tree, dict) else None), found


def _mapping(path: Path) -> tuple[File | None, list[Finding]]:
    try:
        file, found = _opened(source.read(path), path.parent)
    except SpecError:
        return None, []
    return (file if file and file.kind == "mapping" and not file.source.faults else None), found


def _api(path: Path) -> tuple[dict[str, Any] | None, int]:
    try:
        file, found = _opened(source.read(path), path.parent)
    except SpecError:
        return None, 0
    if file is None or file.kind != "api" or file.source.faults:
        return None, 0
    found += _rules(file, {}, None)
    return file.tree, sum(finding.level == "error" for finding in found)


def _rules(file: File, shapes: Mapping[str, Shape] | None, beside: Path | None) -> list[Finding]:
    found: list[Finding] = []
    try:
        file.shapes = _recorded(beside / "shapes") if shapes is None and beside else shapes or {}
    except SpecError as error:
        place = ("systems", "remote") if file.kind == "mapping" else ("mapping",)
        found.append(file.finding("bad_shape", place, str(error), "record it again: connector discover"))
    found += [finding for rule in RULES[file.kind] for finding in rule(file)]
    return found + [each for thing in file.objects for rule in OF_AN_OBJECT for each in rule(file, thing)]


def _recorded(folder: Path) -> Mapping[str, Shape]:
    if not folder.is_dir():
        return {}
    return _load(folder, tuple((each.name, each.stat().st_mtime_ns) for each in sorted(folder.glob("*.json"))))


@lru_cache(maxsize=8)
def _load(folder: Path, _changed: tuple[tuple[str, int], ...]) -> Mapping[str, Shape]:
    return shape.load(folder)
