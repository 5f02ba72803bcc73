"""Decode the pages of a query straight into rows that hold what was asked for. All else is skipped: only its brackets,
quotes and commas have to be right.

A decoder takes pages as orgs write them and refuses all others, some that are JSON among them: half a character, NaN, a number
beyond every float. `Reply.json` then leaves the answer to the standard parser, so that one way decides what an odd answer is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypedDict

import msgspec

from connector.endpoints.salesforce import soql as words
from connector.endpoints.wire import Decode
from connector.model import Query

Fields = tuple[tuple[str, Any, bool], ...]
"""Name, the Fields of a parent or of the rows of a list below (none: a value, or a parent of which nothing is known), whether a list."""
_TYPED: Any = TypedDict
"""For the type checker: these have names that are known only at run time."""


def decoder(query: Query, shapes: words.Shapes) -> Decode | None:
    """None: a name is not spelled as its object spells it. The org will, so all that it gives has to be read."""
    fields = _fields(query, shapes)
    return None if fields is None else _decoder(fields)


def parts(body: bytes, decoders: Sequence[Decode | None]) -> Any:
    """A composite answer, the bodies of its parts by their own decoders."""
    answer = _COMPOSITE.decode(body)
    for part, decode in zip(answer["compositeResponse"], decoders, strict=True):
        rows = decode if part["httpStatusCode"] == 200 else None
        part["body"] = rows(part["body"]) if rows else json.loads(bytes(part["body"]))
    return answer


def _fields(query: Query, shapes: words.Shapes) -> Fields | None:
    names = cache(lambda name: words.names_of(shapes[name]))
    tree: dict[str, Any] = {}
    for path in words.columns(query, shapes[query.object]):
        level = tree
        for name, step in words.hops(path, query.object, shapes):
            if name not in shapes:
                break
            if step not in names(name):
                return None
            level = level.setdefault(step, {})
    below = {name: _fields(child, shapes) for name, child in query.children.items()}
    if None in below.values() or tree.keys() & below.keys():
        return None
    return *_parents(tree), *((name, fields, True) for name, fields in below.items())


def _parents(tree: Mapping[str, Any]) -> Fields:
    return tuple((name, _parents(inner), False) for name, inner in tree.items())


@lru_cache(256)
def _decoder(fields: Fields) -> Decode:
    return msgspec.json.Decoder(_page(fields)).decode


def _page(fields: Fields) -> Any:
    return _objects(("totalSize", "done", "nextRecordsUrl"), records=list[_row(fields)])  # type: ignore[misc]


def _row(fields: Fields) -> Any:
    values = [name for name, inner, _ in fields if not inner]
    return _objects(
        values, **{name: (_page if below else _row)(inner) | None for name, inner, below in fields if inner}
    )


def _objects(values: Sequence[str], **typed: Any) -> Any:
    """The type of objects of which these keys are read, those of `typed` only as such."""
    return _TYPED("Object", {**dict.fromkeys(values, Any), **typed}, total=False)


_COMPOSITE = msgspec.json.Decoder(
    _objects(
        (),
        compositeResponse=list[_objects(("httpHeaders", "httpStatusCode", "referenceId"), body=msgspec.Raw)],  # type: ignore[misc]
    )
)
