"""Jobs and their states: Open, UploadComplete, InProgress, then JobComplete or Failed; Aborted by the client.

Nothing runs by itself: a job that waits moves on when it is looked at, `polls` looks per state, so that tests decide how long it
takes. Jobs live in memory. [U] the keys of a job beyond the documented ones, and the codes and sentences of what is refused.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connector.sandbox import ids, values
from connector.sandbox.bulk.table import Form, Table
from connector.sandbox.errors import ApiError, not_found
from connector.sandbox.plans import Plan

WAITING = ("UploadComplete", "InProgress")
DONE = ("JobComplete", "Failed", "Aborted")


@dataclass
class Job:
    id: str
    kind: str  # query, ingest
    operation: str
    object: str
    version: str
    user: str
    created: datetime
    form: Form
    state: str
    run: Callable[[Any, "Job"], None]  # the org as it is at that moment, and the job
    more: dict[str, Any] = field(default_factory=dict)  # what the two kinds have of their own
    looks: int = 0
    content: bytes | None = None  # what was put in
    successful: Table = field(default_factory=Table)
    failed: Table = field(default_factory=Table)
    processed: int = 0
    error: str | None = None

    def short(self) -> dict[str, Any]:
        """What a POST or a PATCH answers."""
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdById": self.user,
            "createdDate": values.stamp(self.created),
            "systemModstamp": values.stamp(self.created),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            **self.more,
            "lineEnding": self.form.ending,
            "columnDelimiter": self.form.delimiter,
        }

    def whole(self) -> dict[str, Any]:
        """What a GET answers."""
        times = {"retries": 0, "totalProcessingTime": 0}
        if self.kind == "query":
            return {**self.short(), "jobType": "V2Query", "numberRecordsProcessed": self.processed, **times}
        return {
            **self.short(),
            "jobType": "V2Ingest",
            "numberRecordsProcessed": self.processed,
            "numberRecordsFailed": len(self.failed.rows),
            **times,
            "apiActiveProcessingTime": 0,
            "apexProcessingTime": 0,
            **({"errorMessage": self.error} if self.error else {}),
        }


class Jobs:
    def __init__(self) -> None:
        self.known: dict[str, Job] = {}
        self.answers: dict[str, tuple[Plan, array[int]]] = {}  # of the query jobs: what they selected
        self.polls = 0

    def new_id(self) -> str:
        return ids.make("750", len(self.known) + 1)

    def find(self, kind: str, text: str) -> Job:
        found = self.known.get(ids.canonical(text) or "")
        if found is None or found.kind != kind or found.state == "Deleted":
            raise not_found()
        return found

    def look(self, org: Any, job: Job) -> None:
        """One look at a job that waits: it may move on."""
        while job.state in WAITING:
            job.looks += 1
            if job.looks <= self.polls:
                return
            job.looks = 0
            if job.state == "UploadComplete":
                job.state = "InProgress"
                continue
            job.state = "JobComplete"
            job.run(org, job)


def abort(job: Job) -> None:
    if job.state in DONE:
        raise wrong_state(f"Cannot abort a job that is {job.state}")
    job.state = "Aborted"


def delete(job: Job) -> None:
    if job.state not in DONE:
        raise wrong_state(f"Cannot delete a job that is {job.state}")
    job.state = "Deleted"
    job.content, job.successful, job.failed = None, Table(), Table()


def wrong_state(message: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", message)
