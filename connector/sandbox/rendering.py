"""Records as SQL: SQLite builds each record's JSON itself, so that a page of 2,000 costs one statement and no Python per value."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from connector.sandbox.schema import Field, Object
from connector.sandbox.values import as_json

_ARGUMENTS = 100  # SQLite takes 127 arguments in one call


@dataclass
class Node:
    """One record in the answer: the tables it may come from, and its members in the order of the query."""

    tables: tuple[tuple[Object, str], ...]
    named: bool = False  # a polymorphic lookup, shown as the pseudo-object Name
    members: "dict[str, str | Node | Typed]" = field(default_factory=dict)

    @property
    def id(self) -> str:
        return first(f'{alias}."Id"' for _, alias in self.tables)

    @property
    def kind(self) -> str:
        kinds = " ".join(f"WHEN {alias}.\"Id\" IS NOT NULL THEN '{shape.name}'" for shape, alias in self.tables)
        return f"CASE {kinds} END"


@dataclass
class Typed:
    """TYPEOF: what is shown depends on which of the tables the lookup leads to."""

    whole: Node
    kinds: tuple[Node, ...]


def compound(shape: Object, alias: str, whole: Field) -> str:
    """An address as one JSON object of its parts, null when every part is."""
    prefix = whole.name.removesuffix("Address")
    parts = sorted(shape.parts(whole), key=lambda part: part.name)
    pieces: list[str | tuple[str]] = []
    for part in parts:
        key = part.name.removeprefix(prefix)
        pieces += [f'{"," if pieces else "{"}"{key[0].lower()}{key[1:]}":', (as_json(part, f'{alias}."{part.name}"'),)]
    if not pieces:
        return "'null'"
    anything = first(f'{alias}."{part.name}"' for part in parts)
    return f"CASE WHEN {anything} IS NULL THEN 'null' ELSE {concat([*pieces, '}'])} END"


def render(node: Node, version: str) -> str:
    """SQL for the JSON of one record: attributes first, then the members in the order of the query."""
    base = f"/services/data/v{version}/sobjects/"
    pieces: list[str | tuple[str]] = []
    if node.named:
        # [U] a polymorphic parent is shown as type Name with the url of the real object
        pieces += [f'{{"attributes":{{"type":"Name","url":"{base}', (node.kind,), "/", (node.id,), '"}']
    else:
        name = node.tables[0][0].name
        pieces += [f'{{"attributes":{{"type":"{name}","url":"{base}{name}/', (node.id,), '"}']
    for key, member in node.members.items():
        pieces += [f',"{key}":', (_member(member, version),)]
    return concat([*pieces, "}"])


def _member(member: str | Node | Typed, version: str) -> str:
    if isinstance(member, Node):
        return f"CASE WHEN {member.id} IS NULL THEN 'null' ELSE {render(member, version)} END"
    if isinstance(member, Typed):
        kinds = " ".join(f"WHEN {kind.id} IS NOT NULL THEN {render(kind, version)}" for kind in member.kinds)
        whole = f"WHEN {member.whole.id} IS NOT NULL THEN {render(member.whole, version)}"
        return f"CASE {kinds} {whole} ELSE 'null' END"
    return member


def concat(pieces: Iterable[str | tuple[str]]) -> str:
    """printf calls over literal text and expressions (in a tuple), joined where SQLite's argument limit cuts them."""
    formats, arguments = [""], [[]]  # type: tuple[list[str], list[list[str]]]
    for piece in pieces:
        if isinstance(piece, str):
            formats[-1] += piece.replace("%", "%%")
            continue
        if len(arguments[-1]) == _ARGUMENTS:
            formats.append("")
            arguments.append([])
        formats[-1] += "%s"
        arguments[-1].append(piece[0])
    calls = [f"printf({', '.join([quoted(text), *given])})" for text, given in zip(formats, arguments, strict=True)]
    return f"({'||'.join(calls)})"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def first(expressions: Iterable[str]) -> str:
    found = list(expressions)
    return found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"


def every(conditions: list[str]) -> str:
    return " AND ".join(conditions) if conditions else "1"
