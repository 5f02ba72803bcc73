"""The outside of every answer: status, headers, key sets. Each row names the section of the Salesforce reference it stands on."""

import gzip
import json
import zlib

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org

ACCOUNT = "001000000000001AAA"
DELETED = "001000000000002AAA"
UNKNOWN = "001000000000009AAA"


@pytest.fixture(scope="module")
def site():
    org = Org(SHAPES, clock=lambda: NOW)
    org.load(
        [{"object": "Account", "Id": ACCOUNT, "Name": "Acme"}, {"object": "Account", "Id": DELETED, "Name": "Gone"}]
    )
    org.delete("Account", DELETED)
    with site_of(org) as made:
        yield made


MASTER = "012000000000000AAA"
NONE = "none"
JOB = "750Sb0000000001IAA"
QUERY_JOB = {
    "id", "operation", "object", "createdById", "createdDate", "systemModstamp", "state", "concurrencyMode", "contentType",
    "apiVersion", "lineEnding", "columnDelimiter"}  # fmt: skip
NOT_FOUND = [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]
CASES = [
    # section, method, path below /services/data/v66.0/, body, status, keys of the answer or the answer itself
    ("1.1", "GET", "", None, 200,
     {"composite", "identity", "jobs", "limits", "query", "queryAll", "recent", "sobjects", "ui-api"}),
    ("1.4", "GET", "sobjects", None, 200, {"encoding", "maxBatchSize", "sobjects"}),
    ("1.4", "GET", "sobjects/Account", None, 200, {"objectDescribe", "recentItems"}),
    ("1.4", "GET", "sobjects/account/describe/", None, 200, None),
    ("1.4", "GET", "sobjects/Nope/describe", None, 404, NOT_FOUND),
    ("1.5", "POST", "sobjects/Account/", {"Name": "B"}, 201, {"id", "success", "errors"}),
    ("1.5", "GET", f"sobjects/Account/{ACCOUNT}?fields=Name,Id", None, 200, {"attributes", "Name", "Id"}),
    ("1.5", "GET", f"sobjects/Account/{ACCOUNT[:15]}?fields=name", None, 200, {"attributes", "Name", "Id"}),
    ("1.5", "GET", f"sobjects/Account/{ACCOUNT}?fields=foo", None, 400,
     [{"message": "No such column 'foo' on sobject of type Account", "errorCode": "INVALID_FIELD"}]),
    ("1.5", "GET", f"sobjects/Account/{UNKNOWN}", None, 404, NOT_FOUND),
    ("1.5", "GET", f"sobjects/Account/{DELETED}", None, 404, NOT_FOUND),
    ("1.5", "GET", "sobjects/Account/rubbish", None, 404, NOT_FOUND),
    ("1.5", "PATCH", f"sobjects/Account/{ACCOUNT}", {"Phone": "1"}, 204, NONE),
    ("1.5", "POST", f"sobjects/Account/{ACCOUNT}?_HttpMethod=PATCH", {"Phone": "2"}, 204, NONE),
    ("1.5", "PATCH", f"sobjects/Account/{UNKNOWN}", {"Phone": "1"}, 404, NOT_FOUND),
    ("1.5", "PATCH", f"sobjects/Account/{DELETED}", {"Phone": "1"}, 404,
     [{"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}]),
    ("1.5", "DELETE", f"sobjects/Account/{DELETED}", None, 404,
     [{"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}]),
    ("1.5", "PATCH", "sobjects/Account/rubbish", {"Phone": "1"}, 400,
     [{"message": "Account ID: id value of incorrect type: rubbish", "errorCode": "MALFORMED_ID", "fields": ["Id"]}]),
    ("1.5", "DELETE", "sobjects/Account/003000000000001AAA", None, 400, None),
    ("1.6", "GET", "query/?q=SELECT Id FROM Account", None, 200, {"totalSize", "done", "records"}),
    ("1.6", "GET", "query?q=", None, 400, None),
    ("1.6", "GET", "query/rubbish", None, 400, [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]),
    ("1.6", "GET", "query//services/data/v66.0/query/0r8Sb0000000001IAA-2000", None, 404, NOT_FOUND),
    ("1.7", "POST", "composite", {"compositeRequest": []}, 200, {"compositeResponse"}),
    ("1.7", "POST", "composite/sobjects", {"records": []}, 200, []),
    ("1.3", "PUT", "sobjects/Account", {}, 405,
     [{"message": "HTTP Method 'PUT' not allowed. Allowed are GET,POST", "errorCode": "METHOD_NOT_ALLOWED"}]),
    ("1.3", "POST", "query", {}, 405, None),
    ("1.3", "GET", "nonsense", None, 404, NOT_FOUND),
    ("1.3", "GET", "sobjects//describe", None, 404, NOT_FOUND),
    ("1.8", "GET", "limits/recordCount?sObjects=Account,Contact,Nope", None, 200, {"sObjects"}),
    ("1.4", "GET", "recent", None, 200, None),
    ("1.4", "GET", "recent?limit=0", None, 400, None),
    ("1.4", "GET", f"ui-api/object-info/Account/picklist-values/{MASTER}", None, 200, {"picklistFieldValues"}),
    ("1.4", "GET", f"ui-api/object-info/account/picklist-values/{MASTER}/industry", None, 200,
     {"controllerValues", "defaultValue", "url", "values"}),
    ("1.4", "GET", f"ui-api/object-info/Account/picklist-values/{MASTER}/Name", None, 400, None),
    ("1.4", "GET", f"ui-api/object-info/Nope/picklist-values/{MASTER}", None, 404, NOT_FOUND),
    ("1.4", "GET", "ui-api/object-info/Account/picklist-values/rubbish", None, 404, NOT_FOUND),
    ("6", "GET", "ui-api/object-info/Account", None, 501, None),
    ("1.5", "GET", "sobjects/Account/updated/?start=2025-03-12T10:00:00Z&end=2025-03-12T13:00:00Z", None, 200, {"ids", "latestDateCovered"}),
    ("1.5", "GET", "sobjects/Account/deleted/?start=2025-03-12T10:00:00Z&end=2025-03-12T13:00:00Z", None, 200,
     {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}),
    ("1.5", "PATCH", "sobjects/Account/Namez/5", {}, 404,
     [{"message": "Provided external ID field does not exist or is not accessible: Namez", "errorCode": "NOT_FOUND"}]),
    ("1.5", "GET", "sobjects/Account/Namez/5", None, 404,
     [{"message": "Provided external ID field does not exist or is not accessible: Namez", "errorCode": "NOT_FOUND"}]),
    ("6", "GET", f"sobjects/Account/{ACCOUNT}/Contacts", None, 501, None),
    ("6", "DELETE", "sobjects/Account/Ext__c/5", None, 501, None),
    ("6", "GET", "sobjects/Account/describe/layouts", None, 501, None),
    ("1.7", "POST", "composite/batch", {"batchRequests": []}, 200, {"hasErrors", "results"}),
    ("1.7", "POST", "composite/graph", {"graphs": []}, 200, {"graphs"}),
    ("1.7", "POST", "composite/tree/Account", {"records": []}, 201, {"hasErrors", "results"}),
    ("1.7", "DELETE", f"composite/sobjects?ids={UNKNOWN}", None, 200,
     [{"success": False, "errors": [{"statusCode": "INVALID_CROSS_REFERENCE_KEY", "message": "invalid cross reference id", "fields": []}]}]),
    ("1.7", "GET", f"composite/sobjects/Account?ids={UNKNOWN}&fields=Id", None, 200, [None]),
    ("1.7", "POST", "composite/sobjects/Account", {"ids": [UNKNOWN], "fields": ["Id"]}, 200, [None]),
    ("1.10", "POST", "jobs/query", {"operation": "query", "query": "SELECT Id FROM Account"}, 200, QUERY_JOB),
    ("1.10", "GET", f"jobs/query/{JOB}", None, 200, QUERY_JOB | {"jobType", "numberRecordsProcessed", "retries", "totalProcessingTime"}),
    ("1.10", "GET", "jobs/query", None, 200, {"done", "records", "nextRecordsUrl"}),
    ("1.10", "PATCH", f"jobs/query/{JOB}", {"state": "Aborted"}, 400, None),
    ("1.10", "DELETE", f"jobs/query/{JOB}", None, 204, NONE),
    ("1.10", "POST", "jobs/ingest", {"object": "Account", "operation": "insert"}, 200, QUERY_JOB | {"contentUrl"}),
    ("1.10", "GET", "jobs/ingest/750Sb0000000002IAA", None, 200, QUERY_JOB | {
        "contentUrl", "jobType", "numberRecordsProcessed", "numberRecordsFailed", "retries", "totalProcessingTime",
        "apiActiveProcessingTime", "apexProcessingTime"}),
    ("1.9", "POST", "sobjects/ContentVersion", {"PathOnClient": "a.txt", "VersionData": "YQ=="}, 201, {"id", "success", "errors"}),
    ("1.9", "POST", "sobjects/ContentDocument", {"Title": "a"}, 400,
     [{"message": "entity type cannot be inserted: Content Document", "errorCode": "INVALID_TYPE_FOR_OPERATION", "fields": []}]),
    ("1.6", "GET", "query?q=SELECT COUNT(Id) FROM Contact", None, 200,
     {"totalSize", "done", "records"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "method", "path", "body", "status", "expected"), CASES, ids=lambda value: str(value)[:60]
)
def test_an_answer_has_its_form(site, section, method, path, body, status, expected):
    response = site.http.request(method, f"/services/data/v66.0/{path}", json=body)
    assert response.status_code == status, response.text
    assert response.headers["Date"] == "Wed, 12 Mar 2025 12:00:00 GMT"
    assert "Sforce-Limit-Info" in response.headers
    if expected is NONE:
        assert response.content == b""
        assert "Content-Type" not in response.headers
    elif isinstance(expected, set):
        assert response.json().keys() == expected
    elif isinstance(expected, list):
        assert response.json() == expected
    if status == 501:
        [error] = response.json()
        assert error["errorCode"] == "NOT_IMPLEMENTED_IN_SANDBOX"
        assert error["message"].endswith("is not emulated by the sandbox org")
    if status != 204:
        assert response.headers["Content-Type"] == "application/json;charset=UTF-8"


def test_the_versions_need_no_session_and_carry_no_bill(site):  # 1.1
    response = site.bare.get(f"{site.url}/services/data/")
    listed = response.json()
    assert (response.status_code, "Sforce-Limit-Info" in response.headers) == (200, False)
    assert listed[0] == {"label": "Summer '14", "url": "/services/data/v31.0", "version": "31.0"}
    assert {"label": "Spring '26", "url": "/services/data/v66.0", "version": "66.0"} in listed
    assert [entry["version"] for entry in listed] == [f"{number}.0" for number in range(31, 69)]


@pytest.mark.parametrize(
    ("version", "status"), [("31.0", 200), ("68.0", 200), ("30.0", 410), ("69.0", 404), ("66", 404), ("x", 404)]
)
def test_every_living_version_is_served_and_echoed(site, version, status):  # 1.1
    response = site.http.get(f"/services/data/v{version}/query?q=SELECT Id FROM Account LIMIT 1")
    assert response.status_code == status
    if status == 200:
        url = response.json()["records"][0]["attributes"]["url"]
        assert url == f"/services/data/v{version}/sobjects/Account/{ACCOUNT}"


def test_without_a_session_nothing_is_told(site):  # 1.3
    for header in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic c2FuZGJveDpzYW5kYm94"}):
        response = site.bare.get(f"{site.url}/services/data/v66.0/nonsense", headers=header)
        assert (response.status_code, response.json()) == (
            401,
            [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}],
        )


def test_a_created_row_has_a_location(site):  # 1.3
    response = site.post("sobjects/account", {"Name": "C"})
    assert response.headers["Location"] == f"/services/data/v66.0/sobjects/Account/{response.json()['id']}"


def test_pretty_print_is_indented(site):  # 1.3
    assert site.query("SELECT COUNT() FROM Contact", X_PrettyPrint="1").text == (
        '{\n  "totalSize" : 0,\n  "done" : true,\n  "records" : []\n}'
    )


def test_bodies_are_gzipped_both_ways(site):  # 1.3
    body = gzip.compress(json.dumps({"Name": "Zipped"}).encode())
    made = site.http.post("/services/data/v66.0/sobjects/Account", content=body, headers={"Content-Encoding": "gzip"})
    assert made.status_code == 201
    assert site.get("sobjects/Account/describe").headers["Content-Encoding"] == "gzip"
    deflated = {"content": zlib.compress(b'{"Name":"Deflated"}'), "headers": {"Content-Encoding": "deflate"}}
    assert site.http.post("/services/data/v66.0/sobjects/Account", **deflated).status_code == 201


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [("br", b"{}", 415), ("gzip, gzip", gzip.compress(b"{}"), 415), ("gzip", b"{}", 400), ("gzip", gzip.compress(b"{}")[:-4], 400)],
)  # fmt: skip
def test_a_body_in_an_unknown_or_broken_coding_is_refused(site, coding, body, status):
    sent = {"content": body, "headers": {"Content-Encoding": coding, "Content-Type": "application/json"}}
    before = site.org.rows("Account")
    refused = site.http.post("/services/data/v66.0/sobjects/Account", **sent)
    assert (refused.status_code, len(refused.json())) == (status, 1)
    assert site.org.rows("Account") == before
    plain = site.get("sobjects/Account/describe", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


def test_a_uri_has_its_limit(site):  # 1.6
    response = site.query(f"SELECT Id FROM Account WHERE Name IN ('{'x' * 17000}')")
    assert (response.status_code, response.text) == (414, "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>")
    assert site.get("query", headers={"X-Long": "x" * 17000}).status_code == 431


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"a":NaN}', b"[" * 100_000, b'{"Name":"\\ud800"}']
)
def test_a_broken_body_is_a_parser_error(site, body):  # 1.5
    for path in ("sobjects/Account", "composite", "composite/sobjects"):
        response = site.http.post(
            f"/services/data/v66.0/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        assert (response.status_code, response.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


def test_outside_the_api_there_is_nothing(site):
    assert site.http.get("/").status_code == 404
    assert site.http.post("/services/oauth2/introspect").status_code == 501
    assert site.http.post("/services/Soap/u/50.0").status_code == 501


def test_userinfo_is_not_billed(site):  # 1.2 (h), 1.3 (b)
    before = site.org.billed
    response = site.http.get("/services/oauth2/userinfo")
    assert {"sub", "user_id", "organization_id", "zoneinfo", "urls"} <= response.json().keys()
    assert "{version}" in response.json()["urls"]["rest"]
    assert ("Sforce-Limit-Info" in response.headers, site.org.billed) == (False, before)
