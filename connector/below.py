"""Records that are made below each record: of a list in its row, or of the values of a picklist. And values that are gone.

They belong to their record: it fails when one of them does, and is tried again with all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from connector.answering import Answering
from connector.errors import Drifted
from connector.matching import Mapped, Target, mapper
from connector.model import ABOVE, PARENT, Below, Endpoint, Note, Outcome, Row, Where
from connector.pages import Joined, Source
from connector.state import Batch
from connector.writing import WRITTEN, Writer, waves

NEW = "(new)"
"""The id, in a preview, of a record that would be created."""


class Children:
    """The children of one flow. `writer` makes a Writer of a child's flow, `answering` what answers its questions."""

    def __init__(
        self,
        below: Sequence[Below],
        source: Endpoint,
        target: Endpoint,
        writer: Callable[..., Writer],
        answering: Callable[..., Answering],
    ) -> None:
        nowhere: Callable[[str, bool], tuple[str, ...]] = lambda _of, _active: ()  # noqa: E731
        self.parts = [
            (
                each,
                Source(each.flow, source, nowhere),
                mapper(each.flow, target),
                writer(each.flow),
                answering(each.flow),
            )
            for each in below
        ]

    def write(self, wave: Sequence[Mapped], outcomes: Sequence[Outcome], batch: Batch) -> list[Outcome]:
        """The outcomes of the records above, with what became of their children."""
        above = list(outcomes)
        for below, source, mapped, writer, answering in self.parts:
            rows: list[tuple[int, Joined]] = []
            for n, (row, outcome) in enumerate(zip(wave, above, strict=True)):
                if outcome.outcome in WRITTEN:
                    try:
                        rows += [(n, one) for one in self._joined(below, source, row, outcome)]
                    except Drifted as drifted:
                        above[n] = replace(outcome, outcome="failed", reason=drifted.code, message=str(drifted))
            answering.answer(below.flow.asks, [one for _, one in rows], batch.notes)
            made = [(n, mapped(one, batch.notes)) for n, one in rows]
            places = {one.joined.record: n for n, one in made if isinstance(one, Mapped)}
            told = [(n, one) for n, one in made if isinstance(one, Outcome)]
            for some in waves([one for _, one in made if isinstance(one, Mapped)], below.flow.match):
                told += [(places[outcome.record], outcome) for outcome in writer.write(some, batch)]
            for n, outcome in told:
                above[n] = _with(above[n], below.name, outcome)
            ids = tuple(dict.fromkeys(str(one.target) for one in above if one.target and one.outcome in WRITTEN))
            if below.items is None and below.link and ids:
                batch.notes += gone(
                    writer.target, [one for _, one in made if isinstance(one, Mapped)], Where(below.link, ids)
                )
        return above

    def _joined(self, below: Below, source: Source, row: Mapped, outcome: Outcome) -> list[Joined]:
        above: Row = {**row.joined.row, PARENT: row.values, ABOVE: outcome.target or NEW}
        if below.items is None:
            items: Any = source.options(next(iter(below.flow.reads.values())), above)
        else:
            items = below.items(above)
        return [
            Joined(f"{row.joined.record} {below.name} {n}", below.item, {**above, below.item: item}, "", ())
            for n, item in enumerate(items if isinstance(items, list) else (), 1)
        ]


def gone(target: Target, made: Sequence[Mapped], *where: Where) -> list[Note]:
    """Values that the target still has and the picklist does not: they are kept, for records may refer to them."""
    there = {one.keys for one in made}
    left = [(row, key) for row in target.rows(*where) if (key := target.key(row)) not in there]
    said = "{} {} is kept: the picklist no longer has {!r}"
    return [
        Note("info", "value_gone", said.format(target.flow.write, row[target.id], key[-1]), str(key[-1]))
        for row, key in left
    ]


def _with(above: Outcome, name: str, outcome: Outcome) -> Outcome:
    """The outcome of a record with that of one of its children."""
    if outcome.outcome in ("failed", "blocked") and above.outcome not in ("failed", "blocked"):
        said = f"{name}: {outcome.message}"
        return replace(above, outcome=outcome.outcome, reason=outcome.reason, message=said, field=outcome.field)
    if outcome.outcome in ("created", "updated"):
        changed = {f"{outcome.record.partition(' ')[2]}.{field}": pair for field, pair in outcome.changed.items()}
        status = "updated" if above.outcome == "unchanged" else above.outcome
        return replace(above, outcome=status, changed={**above.changed, **changed})
    return above
