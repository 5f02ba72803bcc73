"""Changes as calls, one by one or in batches: an answer for each, whatever the system answers for all of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connector.endpoints.forms import brief, rounds
from connector.endpoints.http.api import Batch, Object, Place, Writer
from connector.endpoints.http.call import filled
from connector.endpoints.http.rows import SENT, Form, formed, text_id
from connector.endpoints.http.session import Answer, Session
from connector.errors import EndpointError, Rejected, SetupError, Unanswered
from connector.model import Change, Written

Changes = Mapping[int, Change]
"""By their place among all changes."""


def written(session: Session, thing: Object, changes: Sequence[Change]) -> list[Written]:
    """Raises only while nothing can have been written; later on, a failed call is the answer of its rows."""
    sent = {place: SENT[kind] for place, kind in thing.types.items() if kind in SENT}
    answers: dict[int, Written] = {}
    batches = deque(_batches(session.name, thing, changes))
    while batches:
        writer, batch = batches.popleft()
        try:
            answers |= _sent(session, thing, writer, batch, sent)
        except EndpointError as error:
            if isinstance(error, Rejected) and len(batch) > 1:  # as a whole, perhaps for one row: find it
                rows, half = list(batch.items()), len(batch) // 2
                batches.extendleft([(writer, dict(rows[half:])), (writer, dict(rows[:half]))])
                continue
            if not isinstance(error, Rejected | Unanswered):
                if not answers:
                    raise
                batch = {at: change for at, change in enumerate(changes) if at not in answers}  # nothing goes now
                batches.clear()
            answers |= {at: Written(change.id, error) for at, change in batch.items()}
    return [answers[at] for at in range(len(changes))]


def _batches(name: str, thing: Object, changes: Sequence[Change]) -> Iterator[tuple[Writer, Changes]]:
    for some in rounds(changes):
        items = list(some.items())
        writer = thing.writer(items[0][1].verb)
        if writer is None:
            verb = "create" if items[0][1].verb == "create" else "update"
            raise SetupError(f"{name}: {thing.name} has no call to {verb} one, as its api file says")
        size = writer.batch.size if writer.batch else 1
        yield from ((writer, dict(items[at : at + size])) for at in range(0, len(items), size))


def _sent(
    session: Session, thing: Object, writer: Writer, batch: Changes, forms: Mapping[Place, Form]
) -> dict[int, Written]:
    values = {at: _values(thing, change, forms) for at, change in batch.items()}
    if not writer.carries_id and any(change.verb not in ("create", "replace") for change in batch.values()):
        said = (
            f"{session.name}: {thing.name} is found by its fields, so all of them have to be sent; write found: replace"
        )
        raise Rejected(said, "whole_records_only")
    if writer.batch is None:
        ((at, change),) = batch.items()
        answer = session.write(writer.call, values[at], repeatable=writer.repeatable)
        return {at: _made(session.name, thing, change, writer.id(answer.body), answer)}
    items = [filled(writer.batch.item, each) for each in values.values()]
    answer = session.write(writer.call, {"items": items}, repeatable=writer.repeatable)
    results = _results(writer.batch, items, answer)
    told = zip(batch.items(), results, strict=True)
    return {at: _result(session.name, thing, writer.batch, change, result, answer) for (at, change), result in told}


def _values(thing: Object, change: Change, forms: Mapping[Place, Form]) -> dict[str, Any]:
    fields = formed(change.values, forms)
    known: Any = change.id
    if known is not None and thing.number_ids and known.isdecimal():
        known = int(known)
    return {"id": known, "fields": fields, "record": fields if known is None else {thing.id[-1]: known, **fields}}


def _made(name: str, thing: Object, change: Change, told: Any, answer: Answer) -> Written:
    made = change.id or text_id(told)
    if made is None:
        return Written(None, Unanswered(f"{name} wrote a {thing.name} and did not say which ({answer.reply.asked})"))
    return Written(made)


# ---- results of a batch ----------------------------------------------------------------------------------


def _results(batch: Batch, items: Sequence[Any], answer: Answer) -> list[Any]:
    """One result for each item; None where it is not clear which is its."""
    results = batch.results(answer.body)
    if not isinstance(results, list):
        raise answer.odd("with something that is no list of results")
    if batch.tie is None:
        return results if len(results) == len(items) else [None] * len(items)
    sent, told = [[repr(batch.tie(each)) for each in some] for some in (items, results)]
    once = {tie for many in (Counter(sent), Counter(told)) for tie, count in many.items() if count > 1}
    by_tie = {tie: result for tie, result in zip(told, results, strict=True) if tie not in once}
    return [by_tie.get(tie) if tie != repr(None) else None for tie in sent]


def _result(name: str, thing: Object, batch: Batch, change: Change, result: Any, answer: Answer) -> Written:
    where = f"{answer.reply.asked} answered {answer.reply.status}"
    error, code = batch.error(result), batch.code(result)
    if error not in (None, "", [], {}, False):
        return Written(change.id, Rejected(f"{where} for one: {brief(error)}", brief(code) if code else "rejected"))
    told = text_id(batch.id(result))
    if result is None or (change.id is not None and told not in (None, change.id)):
        said = f"{where}, but it is not clear what became of this {thing.name}"
        return Written(change.id, Unanswered(said))
    return _made(name, thing, change, told, answer)
