"""Decode the pages of a query straight into rows that hold what was asked for. All else is skipped: only its brackets,
quotes and commas have to be right.

A decoder takes pages as orgs write them and refuses all others, some that are JSON among them: half a character, NaN, a number
beyond every float. `Reply.json` then leaves the answer to the standard parser, so that one way decides what an odd answer is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from connector.endpoints.salesforce import soql as words
from connector.endpoints.wire import Decode
from connector.model import Query

Tree = dict[str, Any]
"""Name -> Tree of a parent; an empty one: a value, or a parent of which nothing is known."""
_TYPED: Any = TypedDict
"""For the type checker: these have names that are known only at run time."""


def decoder(query: Query, shapes: words.Shapes) -> Decode | None:
    """None: a name is not spelled as its object spells it. The org will, so all that it gives has to be read."""
    page = _page(query, shapes)
    return None if page is None else msgspec.json.Decoder(page).decode


def parts(body: bytes, decoders: Sequence[Decode | None]) -> Any:
    """A composite answer, the bodies of its parts by their own decoders."""
    answer = _COMPOSITE.decode(body)
    for part, decode in zip(answer["compositeResponse"], decoders, strict=True):
        rows = decode if part["httpStatusCode"] == 200 else None
        part["body"] = rows(part["body"]) if rows else json.loads(bytes(part["body"]))
    return answer


def _page(query: Query, shapes: words.Shapes) -> Any:
    tree: Tree = {}
    for path in words.columns(query, shapes[query.object]):
        level = tree
        for name, step in words.hops(path, query.object, shapes):
            if name not in shapes:
                break
            if step not in words.names_of(shapes[name]):
                return None
            level = level.setdefault(step, {})
    below = {name: _page(child, shapes) for name, child in query.children.items()}
    if None in below.values() or tree.keys() & below.keys():
        return None
    return _objects(("totalSize", "done", "nextRecordsUrl"), records=list[_row(tree, below)])  # type: ignore[misc]


def _row(tree: Tree, below: Mapping[str, Any]) -> Any:
    parents = {name: _row(inner, {}) for name, inner in tree.items() if inner}
    values = [name for name, inner in tree.items() if not inner]
    return _objects(values, **{name: kind | None for name, kind in {**parents, **below}.items()})


def _objects(values: Sequence[str], **typed: Any) -> Any:
    """The type of objects of which these keys are read, those of `typed` only as such."""
    return _TYPED("Object", {**dict.fromkeys(values, Any), **typed}, total=False)


_COMPOSITE = msgspec.json.Decoder(
    _objects(
        (),
        compositeResponse=list[_objects(("httpHeaders", "httpStatusCode", "referenceId"), body=msgspec.Raw)],  # type: ignore[misc]
    )
)
