"""/jobs/query: a SELECT whose rows are fetched as pages of CSV."""

import json
import re
from array import array
from collections.abc import Iterator
from typing import Any

from connector.sandbox import plans, soql, tree
from connector.sandbox.bulk import jobs
from connector.sandbox.bulk.jobs import Job
from connector.sandbox.bulk.table import cell, form
from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.errors import ApiError
from connector.sandbox.files.restriction import restrict
from connector.sandbox.org import Org
from connector.sandbox.schema import COMPOUND

LARGEST_PAGE = 50_000  # [U] how many rows come without maxRecords
_AT_ONCE = 2_000
_OPERATIONS = {"query": False, "queryAll": True}


def create(org: Org, call: Call) -> Reply:
    body = call.json()
    operation, text = body.get("operation"), body.get("query")
    if not isinstance(operation, str) or operation not in _OPERATIONS or not isinstance(text, str):
        raise ApiError(400, "INVALIDJOB", "A query job needs operation (query or queryAll) and query")  # [U]
    org.queries.append(text)
    select = soql.parse(text)
    restrict(select)
    _refuse(select)
    plan = plans.plan(select, org.context(text, call.version, deleted=_OPERATIONS[operation]))
    if any(kind in COMPOUND for _, kind in plan.columns):
        raise _unsupported("Selecting compound data not supported in Bulk Query")
    numbers = array("q")

    def run(org: Org, job: Job) -> None:
        numbers.extend(org.store.numbers(plan.numbers, plan.parameters))
        job.processed = len(numbers)

    job = Job(
        id=org.jobs.new_id(),
        kind="query",
        operation=operation,
        object=plan.object.name,
        version=call.version,
        user=call.session.user,
        created=org.now(),
        form=form(body),
        state="UploadComplete",
        run=run,
    )
    org.jobs.known[job.id] = job
    org.jobs.answers[job.id] = (plan, numbers)
    return reply(200, job.short())


def _refuse(select: tree.Select) -> None:
    """What a bulk query does not take. [U] the code and all sentences but the one about compound data."""
    if select.counts or select.aggregates:
        raise _unsupported("Aggregate Relationships not supported in Bulk Query")
    if select.offset:
        raise _unsupported("OFFSET not supported in Bulk Query")
    if any(isinstance(item, tree.Select) for item in select.items):
        raise _unsupported("Nested queries not supported in Bulk Query")
    if any(isinstance(item, tree.TypeOf) for item in select.items):
        raise _unsupported("TYPEOF not supported in Bulk Query")


def _unsupported(sentence: str) -> ApiError:
    return ApiError(400, "API_ERROR", sentence)


def show(org: Org, _call: Call, job_id: str) -> Reply:
    job = org.jobs.find("query", job_id)
    org.jobs.look(org, job)
    return reply(200, job.whole())


def results(org: Org, call: Call, job_id: str) -> Reply:
    job = org.jobs.find("query", job_id)
    org.jobs.look(org, job)
    if job.version != call.version:
        message = f"The job was made with version {job.version}"
        raise ApiError(409, "API_ERROR", message)  # [U] code and sentence; the status is documented
    if job.state != "JobComplete":
        raise jobs.wrong_state(f"The job is {job.state}: there are no results")
    plan, numbers = org.jobs.answers[job.id]
    start, most = _number(call, "locator", 0), _number(call, "maxRecords", LARGEST_PAGE) or LARGEST_PAGE
    if start and start >= len(numbers):
        raise _bad_locator()
    wanted = numbers[start : start + most]
    text = job.form.write([".".join(keys) for keys, _ in plan.columns], _rows(org, plan, wanted))
    end = start + len(wanted)
    headers = {
        "Content-Type": "text/csv",
        "Sforce-Locator": str(end) if end < len(numbers) else "null",
        "Sforce-NumberOfRecords": str(len(wanted)),
    }
    return Reply(200, text, headers)


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        if name == "locator":
            raise _bad_locator()
        raise ApiError(400, "API_ERROR", f"{name} is a number")  # [U] code and sentence
    return int(text)


def _bad_locator() -> ApiError:
    return ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")  # [U]


def _rows(org: Org, plan: plans.Plan, numbers: "array[int]") -> Iterator[list[str]]:
    for start in range(0, len(numbers), _AT_ONCE):
        for text in org.store.records(plan.records, plan.parameters, numbers[start : start + _AT_ONCE]):
            record = json.loads(text)
            yield [cell(_reached(record, keys), kind) for keys, kind in plan.columns]


def _reached(record: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        record = record.get(key) if isinstance(record, dict) else None
    return record
