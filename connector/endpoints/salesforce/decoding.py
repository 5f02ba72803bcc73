"""Make rows as we spell them of the pages of a query, by its Fields: what it asks for, and what kind of value each of it is.

A decoder reads a page straight into rows that hold what was asked for. All else is skipped: only its brackets, quotes and
commas have to be right. It takes pages as orgs write them and refuses all others, some that are JSON among them: half a
character, NaN, a number beyond every float, an id that has not 18 characters. `Reply.json` then leaves the answer to the
standard parser, so that one way decides what an odd answer is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from sys import intern
from typing import Annotated, Any, Required, TypedDict

import msgspec

from connector import canon
from connector.endpoints.forms import FORMS, date, instant
from connector.endpoints.salesforce import soql as words
from connector.endpoints.wire import Decode
from connector.errors import Unavailable
from connector.model import Query, Row

Spell = Callable[[Any], Any]
Below = Callable[[str, Any], list[Row]]
"""By the name of a list and what an org gave for it: its rows in full, as we spell them."""
Tidy = Callable[[list[Row], Below | None], None]
_LENGTHS: Mapping[Spell, int] = {canon.id18: 18, date: len("2026-03-02"), instant: len("2026-03-02T08:59:00.000+0000")}
"""By function: of how many characters are the texts that it is for, as an org writes them."""
_TYPED: Any = TypedDict
"""For the type checker: these have names that are known only at run time."""


class Fields(msgspec.Struct, frozen=True, cache_hash=True):
    """What is asked for of the rows of one object, in the order in which it is asked for."""

    steps: tuple[tuple[str, Fields | Spell | None], ...]
    """Parents, and values with what puts them into our spelling."""
    below: tuple[tuple[str, Fields], ...]
    identity: frozenset[str]
    """What has to be text in every row: it says which row it is, and when it changed."""
    known: bool
    """Whether it can be told which object it is. Of others nothing is known, so all that an org gives is read."""
    spelled: bool
    """Whether each name is spelled as its object spells it. The org will spell it so, whatever was asked for."""
    plain: bool
    """Whether nothing has to be read, looked up or dropped but these very values."""


def fields(query: Query, shapes: words.Shapes) -> Fields:
    shape = shapes[query.object]
    own = _fields(query.object, words.columns(query, shape), shapes)
    below = tuple((name, fields(child, shapes)) for name, child in query.children.items())
    spelled = {name for name, _ in own.steps}.isdisjoint(query.children) and all(inner.spelled for _, inner in below)
    return msgspec.structs.replace(
        own,
        below=below,
        identity=frozenset(name for name, step in own.steps if step and name in ("Id", words.stamp_of(shape))),
        spelled=own.spelled and spelled,
        plain=own.plain and not below and not any(where.fold for where in query.where),
    )


def _fields(name: str | None, paths: Sequence[str], shapes: words.Shapes) -> Fields:
    shape = shapes.get(name or "")
    heads: dict[str, list[str]] = {}
    for head, _, rest in (path.partition(".") for path in paths):
        heads.setdefault(head, []).extend([rest] if rest else [])
    steps: dict[str, Fields | Spell | None] = {}
    for head, far in heads.items():
        found = shape.fields.get(head) if shape else None
        parent = words.parent_of(shape, head) if shape and far else None
        steps[head] = _fields(parent, far, shapes) if far else FORMS.get(found.type) if found else None
    inner = [step for step in steps.values() if isinstance(step, Fields)]
    return Fields(
        steps=tuple(steps.items()),
        below=(),
        identity=frozenset(),
        known=shape is not None,
        spelled=(shape is None or heads.keys() <= words.names_of(shape)) and all(one.spelled for one in inner),
        plain=shape is not None and all(one.plain for one in inner),
    )


# ---- pages -----------------------------------------------------------------------------------------------


class Typed(dict[str, Any]):
    """A page that was read by a decoder: its rows, and the lists below them, have the types of `fields`."""

    __slots__ = ("fields",)
    fields: Fields


def decoder(fields: Fields) -> Decode | None:
    """None: not all names are spelled as in an answer, so all that it gives has to be read."""
    return _decoder(fields) if fields.spelled else None


def parts(body: bytes, decoders: Sequence[Decode | None]) -> Any:
    """A composite answer, the bodies of its parts by their own decoders."""
    answer = _COMPOSITE.decode(body)
    for part, decode in zip(answer["compositeResponse"], decoders, strict=True):
        rows = decode if part["httpStatusCode"] == 200 else None
        part["body"] = rows(part["body"]) if rows else json.loads(bytes(part["body"]))
    return answer


@lru_cache(256)
def _decoder(fields: Fields) -> Decode:
    read = msgspec.json.Decoder(_page(fields)).decode

    def decode(body: bytes | msgspec.Raw) -> Typed:
        page = Typed(read(body))
        page.fields = fields
        return page

    return decode


def _page(fields: Fields) -> Any:
    return _objects({"totalSize": Any, "done": Any, "nextRecordsUrl": Any, "records": _rows(fields)})


def _rows(fields: Fields) -> Any:
    return list[_row(fields)]  # type: ignore[misc]


def _row(fields: Fields) -> Any:
    values = {name: _type(step, needed=name in fields.identity) for name, step in fields.steps}
    return _objects(values | {name: Required[_list(inner) | None] for name, inner in fields.below})


def _list(fields: Fields) -> Any:
    whole = {"totalSize": Required[Any], "done": Required[Any], "records": Required[_rows(fields)]}
    return _objects(whole | {"nextRecordsUrl": Any})


def _type(step: Fields | Spell | None, *, needed: bool) -> Any:
    if isinstance(step, Fields):
        return (_row(step) | None) if step.known else Any
    if step is None:
        return Any
    text = Annotated[str, msgspec.Meta(min_length=_LENGTHS[step], max_length=_LENGTHS[step])]
    return Required[text] if needed else text | None


def _objects(typed: Mapping[str, Any]) -> Any:
    """The type of objects of which these keys are read, and only as such. Rows get the very names that code looks up."""
    return _TYPED("Object", {intern(name): kind for name, kind in typed.items()}, total=False)


_PART = _objects(dict.fromkeys(("httpHeaders", "httpStatusCode", "referenceId"), Any) | {"body": msgspec.Raw})
_COMPOSITE = msgspec.json.Decoder(_objects({"compositeResponse": list[_PART]}))  # type: ignore[valid-type]


# ---- rows ------------------------------------------------------------------------------------------------

_USUAL: Mapping[Any, tuple[str, str]] = {
    **dict.fromkeys((canon.id18, date), ("", "value")),
    instant: ("len(cut := value.removesuffix('.000+0000')) == 19", "cut + 'Z'"),
}
"""By function: for which texts of its length it need not be called, as an org spells nearly all of them, and what those become."""
_CALLS = {spell.__name__: spell for spell in FORMS.values()}


class Form(msgspec.Struct, frozen=True):
    """What puts rows of one query into our spelling: worked out once, from the shapes, and applied per page."""

    query: Query
    fields: Fields
    below: Mapping[str, Form]

    def spell(self, page: Mapping[str, Any], below: Below) -> None:
        """The rows of a page in place, the lists below them by `below`."""
        rows: list[Row] = page["records"]
        if isinstance(page, Typed) and page.fields == self.fields:
            self._tidy(rows, below)
        else:
            for name in self.below:
                for row in rows:
                    row[name] = below(name, row[name])
            self.tidy(rows)

    def tidy(self, rows: list[Row]) -> None:
        """In place, but for the lists below. Rows that are none, or do not say which they are, are no answer."""
        self._tidy(rows, None)

    def _tidy(self, rows: list[Row], below: Below | None) -> None:
        try:
            _compiled(self.fields, below is not None)(rows, below)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Unavailable(
                f"the org gave rows of {self.query.object} that cannot be read: not what its describe says"
            ) from None

    def alike(self, rows: list[Row]) -> list[Row]:
        """Those of them that `fold` means: the org was asked for a little more."""
        folds = [
            (tuple(each.field.split(".")), set(map(canon.fold, each.values))) for each in self.query.where if each.fold
        ]
        if not folds:
            return rows
        return [row for row in rows if all(canon.fold(canon.reach(row, path)) in wanted for path, wanted in folds)]


def form(query: Query, shapes: words.Shapes) -> Form:
    below = {name: form(child, shapes) for name, child in query.children.items()}
    return Form(query, fields(query, shapes), below)


@lru_cache(256)
def _compiled(fields: Fields, typed: bool) -> Tidy:
    """What fixes rows in place, as one function that is written for them: with a loop over `fields` it takes twice as long.

    `typed`: the rows are a decoder's, and their types need not be looked at. Of others a TypeError or the like says that a row
    is none, or its identity is not text.
    """
    made: dict[str, Any] = {}
    lines = ["def tidy(rows, below):", " for row in rows:", "  pass", *_lines(fields, "row", "  ", typed=typed)]
    if not typed:
        lines += (f"  if row[{name!r}].__class__ is not str: raise TypeError" for name in sorted(fields.identity))
    code = compile("\n".join(lines), "<what puts rows into our spelling>", "exec")
    exec(code, dict(_CALLS), made)  # noqa: S102 - of what a query names only the repr of its names gets in
    return made["tidy"]  # type: ignore[no-any-return]


def _lines(fields: Fields, row: str, pad: str, *, typed: bool) -> Iterator[str]:
    """Statements that fix the dict in the variable `row`."""
    if not typed:
        yield f"{pad}{row}.pop('attributes', None)"
    for name, step in fields.steps:
        if isinstance(step, Fields):
            lines = [*_lines(step, f"{row}_", f"{pad} ", typed=typed and step.known)]
            if lines:
                yield f"{pad}if ({row}_ := {row}.get({name!r})) is not None:"
                yield from lines
        elif step:
            usual, made = _USUAL[step]
            known = () if typed else ("value.__class__ is str", f"len(value) == {_LENGTHS[step]}")
            if tests := " and ".join(filter(None, (*known, usual))):
                yield f"{pad}if (value := {row}.get({name!r})) is not None:"
                yield f"{pad} {row}[{name!r}] = {made} if {tests} else {step.__name__}(value)"
    for name, inner in fields.below if typed else ():
        yield from _unwrapped(inner, f"{row}[{name!r}]", name, pad)


def _unwrapped(fields: Fields, at: str, name: str, pad: str) -> Iterator[str]:
    """Statements that put the rows of a list below in place of what a decoder made of it. Nearly always it came whole."""
    fetched = f"{at} = below({name!r}, {at})"
    if not fields.plain:
        yield f"{pad}{fetched}"
        return
    yield f"{pad}if (page := {at}) is None:"
    yield f"{pad} {at} = []"
    yield f"{pad}elif page['done'] is True and page['totalSize'] == len(some := page['records']):"
    yield f"{pad} {at} = some"
    if lines := [*_lines(fields, "one", f"{pad}  ", typed=True)]:
        yield f"{pad} for one in some:"
        yield from lines
    yield f"{pad}else:"
    yield f"{pad} {fetched}"
