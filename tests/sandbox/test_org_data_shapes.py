"""The shape of each answer about rows, queries, files and jobs: status, headers, keys and their types, with its section.

What is marked [U] in that section stands here as the org answers it today.
"""

import pytest
from sandbox_site import NOW, SHAPES, site_of
from test_org_shapes import BILLED, ERROR, ERROR_WITH_FIELDS, JSON, LIST, MAP, MORE, NONE, NUMBER, TEXT, TRUTH, fits

from connector.sandbox import Org

ACCOUNT, CHILD, GONE = "001000000000001AAA", "001000000000002AAA", "001000000000003AAA"
FILE, QUERY, INGEST = "068Sb0000000001IAA", "750Sb0000000001IAA", "750Sb0000000002IAA"
DATA = "/services/data/v66.0"
KIND = {"attributes": {"type": "Account"}}
RECORD = {"type": TEXT, "url": TEXT}
SAVED = {"id": TEXT, "success": TRUTH, "errors": LIST}
UPSERTED = {**SAVED, "created": TRUTH}
REFUSED = {"success": TRUTH, "errors": [{"statusCode": TEXT, "message": TEXT, "fields": LIST}]}
PAGE = {"totalSize": NUMBER, "done": TRUTH}
PART = {"body": (MAP, LIST, NONE), "httpHeaders": MAP, "httpStatusCode": NUMBER, "referenceId": TEXT}
ROW = {"attributes": RECORD, "Id": TEXT, "Name": TEXT, "AnnualRevenue": float, "NumberOfEmployees": NUMBER, "IsDeleted": TRUTH,
       "CreatedDate": TEXT, "Phone": NONE, "BillingAddress": dict.fromkeys(("city", "country", "geocodeAccuracy", "latitude",
       "longitude", "postalCode", "state", "street"), (TEXT, NONE)), "Parent": NONE, "Contacts": NONE}  # fmt: skip
JOB = {"id": TEXT, "operation": TEXT, "object": TEXT, "createdById": TEXT, "createdDate": TEXT, "systemModstamp": TEXT, "state": TEXT,
       "concurrencyMode": TEXT, "contentType": TEXT, "apiVersion": float, "lineEnding": TEXT, "columnDelimiter": TEXT}  # fmt: skip
TIMES = {"jobType": TEXT, "numberRecordsProcessed": NUMBER, "retries": NUMBER, "totalProcessingTime": NUMBER}
TOOK = {
    **TIMES,
    "numberRecordsFailed": NUMBER,
    "apiActiveProcessingTime": NUMBER,
    "apexProcessingTime": NUMBER,
    "contentUrl": TEXT,
}
WINDOW = "start=2025-03-12T11:00:00Z&end=2025-03-12T13:00:00Z"
WHOLE = "Id,Name,AnnualRevenue,NumberOfEmployees,IsDeleted,CreatedDate,Phone,BillingAddress"
SOQL = f"SELECT {WHOLE}, Parent.Name, (SELECT Id FROM Contacts) FROM Account WHERE Id = '{ACCOUNT}'"
CSV, BYTES = "text/csv", "application/octetstream"
LOCATED = (*BILLED, "Location")
# section, method, path, what is sent, status, content type, headers, shape
ROWS = [
    ("1.5", "POST", "sobjects/Account", {"Name": "x"}, 201, JSON, LOCATED, SAVED),
    ("1.5", "POST", "sobjects/Account", {"Nope": 1}, 400, JSON, BILLED, ERROR),
    ("1.5", "POST", "sobjects/Account", {"ParentId": GONE}, 400, JSON, BILLED, ERROR_WITH_FIELDS),
    ("1.5", "GET", f"sobjects/Account/{ACCOUNT}?fields={WHOLE}", None, 200, JSON, (*BILLED, "ETag", "Last-Modified"),
     {key: each for key, each in ROW.items() if key not in ("Parent", "Contacts")}),
    ("1.5", "GET", f"sobjects/Account/{GONE}", None, 404, JSON, BILLED, ERROR),
    ("1.5", "PATCH", f"sobjects/Account/{ACCOUNT}", {"Fax": "1"}, 204, None, BILLED, None),
    ("1.5", "PATCH", f"sobjects/Account/{GONE}", {"Fax": "1"}, 404, JSON, BILLED, ERROR_WITH_FIELDS),
    ("1.5", "PATCH", "sobjects/Contact/Email/a%40example.com", {"LastName": "x"}, 201, JSON, LOCATED, UPSERTED),
    ("1.5", "PATCH", "sobjects/Contact/Email/a%40example.com", {"LastName": "y"}, 200, JSON, LOCATED, UPSERTED),
    ("1.5", "PATCH", "sobjects/Contact/Email/twice%40example.com", {}, 300, JSON, BILLED, [TEXT]),
    ("1.5", "GET", f"sobjects/Account/updated/?{WINDOW}", None, 200, JSON, BILLED, {"ids": [TEXT], "latestDateCovered": TEXT}),
    ("1.5", "GET", f"sobjects/Account/deleted/?{WINDOW}", None, 200, JSON, BILLED,
     {"deletedRecords": [{"id": TEXT, "deletedDate": TEXT}], "earliestDateAvailable": TEXT, "latestDateCovered": TEXT}),
    ("1.5", "GET", "sobjects/Account/updated/?start=x&end=y", None, 400, JSON, BILLED, ERROR),
    ("1.6", "GET", f"query?q={SOQL}", None, 200, JSON, BILLED, {**PAGE, "records": [ROW]}),
    ("1.6", "GET", "query?q=SELECT Id FROM Lead", None, 200, JSON, BILLED, {**PAGE, "nextRecordsUrl": TEXT, "records": LIST}),
    ("1.6", "GET", f"query?q=SELECT Id, (SELECT Id FROM Contacts) FROM Account WHERE Id = '{CHILD}'", None, 200, JSON, BILLED,
     {**PAGE, "records": [{"attributes": RECORD, "Id": TEXT, "Contacts": {**PAGE, "nextRecordsUrl": TEXT, "records": LIST}}]}),
    ("1.6", "GET", f"query?q=SELECT Parent.Name FROM Account WHERE Id = '{CHILD}'", None, 200, JSON, BILLED,
     {**PAGE, "records": [{"attributes": RECORD, "Parent": {"attributes": RECORD, "Name": TEXT}}]}),
    ("1.6", "GET", "query?q=SELECT COUNT() FROM Account", None, 200, JSON, BILLED, {**PAGE, "records": LIST}),
    ("1.6", "GET", "query?q=SELECT COUNT(Id), MAX(AnnualRevenue) top FROM Account", None, 200, JSON, BILLED,
     {**PAGE, "records": [{"attributes": {"type": TEXT}, "expr0": NUMBER, "top": float}]}),
    ("1.6", "GET", "queryAll?q=SELECT Id FROM Account WHERE IsDeleted = true", None, 200, JSON, BILLED,
     {**PAGE, "records": [{"attributes": RECORD, "Id": TEXT}]}),
    ("1.6", "GET", "query?q=SELECT", None, 400, JSON, BILLED, ERROR),
    ("1.7", "POST", "composite", {"compositeRequest": [{"method": "GET", "url": f"{DATA}/limits", "referenceId": "a"}]}, 200, JSON,
     BILLED, {"compositeResponse": [PART]}),
    ("1.7", "POST", "composite/batch", {"batchRequests": [{"method": "GET", "url": "v66.0/limits"}]}, 200, JSON, BILLED,
     {"hasErrors": TRUTH, "results": [{"statusCode": NUMBER, "result": MAP}]}),
    ("1.7", "POST", "composite/graph", {"graphs": [{"graphId": "g", "compositeRequest": [
        {"method": "GET", "url": f"{DATA}/limits", "referenceId": "a"}]}]}, 200, JSON, BILLED,
     {"graphs": [{"graphId": TEXT, "graphResponse": {"compositeResponse": [PART]}, "isSuccessful": TRUTH}]}),
    ("1.7", "POST", "composite/tree/Account", {"records": [{"attributes": {"type": "Account", "referenceId": "a"}, "Name": "x"}]},
     201, JSON, BILLED, {"hasErrors": TRUTH, "results": [{"referenceId": TEXT, "id": TEXT}]}),
    ("1.7", "POST", "composite/tree/Account", {"records": [{"attributes": {"type": "Account", "referenceId": "a"}, "Nope": 1}]},
     400, JSON, BILLED, {"hasErrors": TRUTH, "results": [{"referenceId": TEXT, "errors": REFUSED["errors"]}]}),
    ("1.7", "POST", "composite/sobjects", {"records": [{**KIND, "Name": "x"}]}, 200, JSON, BILLED, [SAVED]),
    ("1.7", "POST", "composite/sobjects", {"records": [{**KIND, "Nope": 1}]}, 200, JSON, BILLED, [REFUSED]),
    ("1.7", "PATCH", "composite/sobjects", {"records": [{**KIND, "id": "001000000000009AAA"}]}, 200, JSON, BILLED, [REFUSED]),
    ("1.7", "PATCH", "composite/sobjects/Account/Id", {"records": [{**KIND, "Id": None, "Name": "x"}]}, 200, JSON, BILLED, [UPSERTED]),
    ("1.7", "DELETE", f"composite/sobjects?ids={GONE}", None, 200, JSON, BILLED, [REFUSED]),
    ("1.7", "POST", "composite/sobjects/Account", {"ids": [ACCOUNT], "fields": ["Name"]}, 200, JSON, BILLED,
     [{"attributes": RECORD, "Name": TEXT, "Id": TEXT}]),
    ("1.9", "POST", "sobjects/ContentVersion", {"PathOnClient": "a", "VersionData": "YQ=="}, 201, JSON, LOCATED, SAVED),
    ("1.9", "GET", f"sobjects/ContentVersion/{FILE}?fields=VersionData,ContentSize,Title", None, 200, JSON, (*BILLED, "Last-Modified"),
     {"attributes": RECORD, "VersionData": TEXT, "ContentSize": NUMBER, "Title": TEXT, "Id": TEXT}),
    ("1.9", "GET", f"sobjects/ContentVersion/{FILE}/VersionData", None, 200, BYTES, BILLED, None),
    ("1.9", "GET", "query?q=SELECT Id FROM ContentDocumentLink", None, 400, JSON, BILLED, ERROR),
    ("1.10", "POST", "jobs/query", {"operation": "query", "query": "SELECT Id FROM Account"}, 200, JSON, BILLED, JOB),
    ("1.10", "GET", f"jobs/query/{QUERY}", None, 200, JSON, BILLED, {**JOB, **TIMES}),
    ("1.10", "GET", f"jobs/query/{QUERY}/results", None, 200, CSV, (*BILLED, "Sforce-Locator", "Sforce-NumberOfRecords"), None),
    ("1.10", "POST", "jobs/ingest", {"object": "Account", "operation": "insert"}, 200, JSON, BILLED, {**JOB, "contentUrl": TEXT}),
    ("1.10", "PATCH", f"jobs/ingest/{INGEST}", {"state": "UploadComplete"}, 200, JSON, BILLED, {**JOB, "contentUrl": TEXT}),
    ("1.10", "GET", f"jobs/ingest/{INGEST}", None, 200, JSON, BILLED, {**JOB, **TOOK, "errorMessage": TEXT}),
    ("1.10", "GET", f"jobs/ingest/{INGEST}/failedResults", None, 200, CSV, BILLED, None),
    ("1.10", "GET", f"jobs/ingest/{INGEST}/unprocessedrecords", None, 200, CSV, BILLED, None),
    ("1.10", "GET", "jobs/ingest", None, 200, JSON, BILLED, {"done": TRUTH, "nextRecordsUrl": NONE, "records": [{MORE: None, **JOB}]}),
    ("1.10", "DELETE", f"jobs/ingest/{INGEST}", None, 204, None, BILLED, None),
    ("1.10", "POST", "jobs/ingest", {"object": "Nope", "operation": "insert"}, 400, JSON, BILLED, ERROR),
]  # fmt: skip


@pytest.fixture(scope="module")
def site():
    org = Org(SHAPES, clock=lambda: NOW, page_size=2)
    org.load([
        {"object": "Account", "Id": ACCOUNT, "Name": "A", "AnnualRevenue": 1, "NumberOfEmployees": 1, "BillingCity": "Paris"},
        {"object": "Account", "Id": CHILD, "Name": "B", "ParentId": ACCOUNT},
        {"object": "Account", "Id": GONE, "Name": "C"},
        *[{"object": "Contact", "LastName": "x", "Email": "twice@example.com", "AccountId": CHILD}] * 3,
        *[{"object": "Lead", "LastName": "x", "Company": "x"}] * 3,
    ])  # fmt: skip
    org.delete("Account", GONE)
    with site_of(org) as made:
        yield made


@pytest.mark.parametrize(
    ("section", "method", "path", "sent", "status", "kind", "headers", "shape"),
    ROWS,
    ids=[f"{row[0]} {row[1]} {row[2][:70]} {row[4]}" for row in ROWS],
)
def test_an_answer_has_its_shape(site, section, method, path, sent, status, kind, headers, shape):
    response = site.http.request(method, f"{DATA}/{path}", **({} if sent is None else {"json": sent}))
    assert response.status_code == status, response.text
    assert response.headers.get("Content-Type") == kind
    assert [name for name in headers if name not in response.headers] == []
    assert "Location" in headers or "Location" not in response.headers
    if shape is not None:
        fits(response.json(), shape, path)
