"""What both kinds of jobs have: lists, abort, delete; and which objects a call to a job touches."""

from connector.sandbox import plans, soql
from connector.sandbox.bulk import jobs
from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.errors import ApiError
from connector.sandbox.org import Org


def listed(org: Org, call: Call) -> Reply:
    kind = call.segments[1]
    found = [job.whole() for job in org.jobs.known.values() if job.kind == kind and job.state != "Deleted"]
    return reply(200, {"done": True, "records": found, "nextRecordsUrl": None})


def abort_query(org: Org, call: Call, job_id: str) -> Reply:
    job = org.jobs.find("query", job_id)
    if call.json().get("state") != "Aborted":
        raise ApiError(400, "INVALIDJOB", "state is Aborted")  # [U] code and sentence
    jobs.abort(job)
    return reply(200, job.short())


def delete(org: Org, call: Call, job_id: str) -> Reply:
    jobs.delete(org.jobs.find(call.segments[1], job_id))
    org.jobs.answers.pop(job_id, None)
    return Reply(204)


def touched(org: Org, call: Call, *given: str) -> frozenset[str]:
    """A new job by what it says, a known one by its object."""
    if given:
        job = next((job for job in org.jobs.known.values() if job.id[:15] == given[0][:15]), None)
        return frozenset({job.object} if job else ())
    try:
        body = call.json()
        if "query" in body:
            return plans.objects(soql.parse(str(body["query"])), org.schema)
    except ApiError:
        return frozenset()
    shape = org.schema.object(str(body.get("object")))
    return frozenset({shape.name} if shape else ())
