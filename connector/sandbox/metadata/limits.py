"""/limits and /limits/recordCount."""

from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.org import Org

_MEGABYTE = 1024 * 1024
_ROW = 2 * 1024  # Salesforce counts 2 KB for most rows
# [U] the maxima of an org like this one, except where the reference names them; nothing uses them up here.
_UNUSED = {
    "ConcurrentAsyncGetReportInstances": 200,
    "ConcurrentSyncReportRuns": 20,
    "DailyAsyncApexExecutions": 250_000,
    "DailyBulkApiBatches": 15_000,
    "DailyBulkV2QueryFileStorageMB": 976_562,
    "DailyBulkV2QueryJobs": 10_000,
    "DailyDurableStreamingApiEvents": 10_000,
    "DailyGenericStreamingApiEvents": 10_000,
    "DailyStandardVolumePlatformEvents": 10_000,
    "DailyStreamingApiEvents": 10_000,
    "DailyWorkflowEmails": 385,
    "DurableStreamingApiConcurrentClients": 20,
    "FileStorageMB": 20,
    "HourlyAsyncReportRuns": 1_200,
    "HourlyDashboardRefreshes": 200,
    "HourlyPublishedPlatformEvents": 50_000,
    "HourlySyncReportRuns": 500,
    "HourlyTimeBasedWorkflow": 50,
    "MassEmail": 10,
    "SingleEmail": 15,
    "StreamingApiConcurrentClients": 20,
}


def limits(org: Org, _: Call) -> Reply:
    now, most = org.now(), org.billing.limit
    rows = sum(count for _, count in _counts(org, None))
    found = {
        **{name: {"Max": limit, "Remaining": limit} for name, limit in _UNUSED.items()},
        "DailyApiRequests": {"Max": most, "Remaining": max(most - org.billing.used(now), 0)},
        "DataStorageMB": {"Max": 5, "Remaining": max(5 - rows * _ROW // _MEGABYTE, 0)},
    }
    return reply(200, {name: found[name] for name in sorted(found)})


def record_count(org: Org, call: Call) -> Reply:
    """Objects without rows are left out, unknown ones as well [U]; without names every object is counted."""
    asked = call.query.get("sObjects")
    names = None if asked is None else [name.strip() for name in asked.split(",")]
    listed = [{"count": count, "name": name} for name, count in _counts(org, names) if count]
    return reply(200, {"sObjects": listed})


def _counts(org: Org, names: list[str] | None) -> list[tuple[str, int]]:
    shapes = org.schema.objects.values() if names is None else map(org.schema.object, dict.fromkeys(names))
    found = {shape.name: org.store.count(shape) for shape in shapes if shape is not None}
    return sorted(found.items())
