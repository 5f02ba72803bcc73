"""Is a mapping, a connection or an example file right? All independent faults at once, each at its line and column.

The validator that run uses: nothing runs that this refuses, and nothing that this accepts fails to compile. Rules are
generators over a File, in the visible table RULES; a shape of the file that is wrong silences them for what it spoils.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from connector import shape, source
from connector.errors import SpecError
from connector.lint import connection, fields, mapping
from connector.lint.file import File
from connector.lint.findings import CODES, LEVELS, Finding, render_json, render_text, summary
from connector.lint.grammar import check as check_grammar
from connector.lint.grammar import kind_of, sane
from connector.lint.mapping import combinations
from connector.model import Shape
from connector.source import Source, Span

__all__ = [
    "CODES",
    "LEVELS",
    "RULES",
    "Finding",
    "check",
    "check_source",
    "combinations",
    "render_json",
    "render_text",
    "summary",
]

RULES: Mapping[str, tuple[mapping.Rule, ...]] = {
    "mapping": (
        mapping.file_name,
        mapping.systems,
        mapping.schedule,
        mapping.one_way,
        mapping.triggers,
        mapping.joins,
        mapping.roots,
        mapping.unused,
        mapping.match,
        fields.expressions,
        fields.missing_in_paths,
        fields.objects,
        fields.paths,
        fields.selection,
        fields.targets,
    ),
    "connection": (
        mapping.file_name,
        connection.mapping_exists,
        connection.schedule,
        connection.objects,
        connection.systems,
        connection.secrets,
        connection.logins,
    ),
    "examples": (
        connection.mapping_exists,
        connection.example_names,
        fields.example_values,
    ),
}


def check(path: Path, *, shapes: Mapping[str, Shape] | None = None) -> list[Finding]:
    """Everything wrong with a file. Shapes are those of the folder `shapes` beside the mapping, unless they are given."""
    try:
        read = source.read(path)
    except SpecError as error:
        said = str(error).removeprefix(f"{path}").lstrip(":0123456789 ")
        return [Finding("error", "unreadable_file", said, str(path), Span(1, 1, 0, 0))]
    return check_source(read, shapes=shapes, folder=path.absolute().parent)


def check_source(
    read: Source, *, shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> list[Finding]:
    """Everything wrong with a text; without a `folder`, what it says of other files is not looked at."""
    kind = kind_of(read.tree)
    file = File(read, kind, {}, folder=folder)
    found = [Finding("error", fault.code, fault.message, read.name, fault.span) for fault in read.faults]
    if all(fault.code in ("duplicate_key", "number_too_long") for fault in read.faults):
        troubles = check_grammar(read, kind)
        found += [file.trouble(trouble) for trouble in troubles]
        tree = sane(read.tree, troubles)
        if isinstance(tree, dict):
            found += _rules(File(read, kind, tree, frozenset(t.at for t in troubles), folder), shapes)
    return sorted(dict.fromkeys(found), key=lambda finding: finding.order)


def _rules(file: File, shapes: Mapping[str, Shape] | None) -> list[Finding]:
    found: list[Finding] = []
    beside = file.folder
    if file.kind != "mapping" and (path := connection.mapping_path(file)):
        beside = path.parent
        if connection.mapping_of(file) is not None:
            file.mapping_errors = sum(finding.level == "error" for finding in check(path, shapes=shapes))
    try:
        file.shapes = _recorded(beside / "shapes") if shapes is None and beside else shapes or {}
    except SpecError as error:
        place = ("systems", "remote") if file.kind == "mapping" else ("mapping",)
        found.append(file.finding("bad_shape", str(error), place, "record it again: connector discover"))
    return found + [finding for rule in RULES[file.kind] for finding in rule(file)]


def _recorded(folder: Path) -> Mapping[str, Shape]:
    if not folder.is_dir():
        return {}
    return _load(folder, tuple((each.name, each.stat().st_mtime_ns) for each in sorted(folder.glob("*.json"))))


@lru_cache(maxsize=8)
def _load(folder: Path, _changed: tuple[tuple[str, int], ...]) -> Mapping[str, Shape]:
    return shape.load(folder)
