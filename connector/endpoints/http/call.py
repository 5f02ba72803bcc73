"""One call of an api file: method, path, query and body, with placeholders that are filled when it is made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from connector.errors import Rejected

Values = Mapping[str, Any]

_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def holes(node: Any) -> set[str]:
    """The placeholders of all texts in a node."""
    if isinstance(node, str):
        return set(_HOLE.findall(node))
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return set[str]().union(*map(holes, inner))


def filled(node: Any, values: Values) -> Any:
    """The node with its placeholders filled. One alone becomes its value; what lacks one is left out, or None."""
    if isinstance(node, dict):
        made = ((key, each, filled(each, values)) for key, each in node.items())
        return {key: value for key, each, value in made if value is not None or not holes(each)}
    if isinstance(node, list):
        return [filled(each, values) for each in node]
    if not isinstance(node, str) or not (names := _HOLE.findall(node)):
        return node
    if any(values.get(name) is None for name in names):
        return None
    alone = _HOLE.fullmatch(node)
    return values[alone[1]] if alone else _HOLE.sub(lambda hole: _text(values[hole[1]]), node)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)


class Call(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    json: Any
    form: Mapping[str, Any] | None = None

    @property
    def holes(self) -> set[str]:
        return holes([self.path, self.query, self.json, self.form])

    def address(self, values: Values) -> str:
        """Path and query. Raises Rejected for a value that would make it another path."""
        names = _HOLE.findall(self.path)
        parts = {name: _text(values[name]) for name in names if values.get(name) is not None}
        for name in names:
            if parts.get(name, "") in ("", ".", ".."):
                said = f"{self.method} {self.path}: {parts.get(name, '')!r} cannot stand for {{{name}}} in an address"
                raise Rejected(said, "INVALID_VALUE")
        path = _HOLE.sub(lambda hole: quote(parts[hole[1]], safe=""), self.path)
        query = {key: _text(value) for key, value in filled(self.query, values).items()}
        return f"{path}?{urlencode(query)}" if query else path
