"""Bulk API 2.0: query and ingest jobs, their states, their CSV."""

import csv
import io

import pytest

Q, INGEST = "jobs/query", "jobs/ingest"
SOQL = "SELECT Id, Name, AnnualRevenue, CreatedDate, IsDeleted, Parent.Name FROM Account ORDER BY Name"


def ask(site, soql, **more):
    response = site.post(Q, {"operation": "query", "query": soql, **more})
    assert response.status_code == 200, response.text
    return response.json()


def results(site, job, **params):
    return site.get(f"{Q}/{job['id']}/results", params=params)


def ingest(site, text, **body):
    job = site.post(INGEST, {"object": "Account", "operation": "insert", **body})
    assert job.status_code == 200, job.text
    path = f"{INGEST}/{job.json()['id']}"
    put = site.http.put(f"/services/data/v66.0/{path}/batches", content=text, headers={"Content-Type": "text/csv"})
    assert (put.status_code, put.content) == (201, b"")
    assert site.patch(path, {"state": "UploadComplete"}).json()["state"] == "UploadComplete"
    return path


def table(response):
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv")
    return list(csv.DictReader(io.StringIO(response.text)))


def test_a_query_job_answers_in_pages_of_csv(site):
    [top] = site.org.load([{"object": "Account", "Name": 'A "quoted", name\nin two lines', "AnnualRevenue": 15000}])
    second, third = site.org.load([{"object": "Account", "Name": name, "ParentId": top} for name in "BC"])
    before = site.org.billed
    job = ask(site, SOQL.lower())
    assert job == {
        "id": "750Sb0000000001IAA", "operation": "query", "object": "Account", "createdById": site.org.rows("User")[0]["Id"],
        "createdDate": "2025-03-12T12:00:00.000+0000", "systemModstamp": "2025-03-12T12:00:00.000+0000", "state": "UploadComplete",
        "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": 66.0, "lineEnding": "LF", "columnDelimiter": "COMMA"}  # fmt: skip
    state = site.get(f"{Q}/{job['id']}").json()
    assert (state["state"], state["jobType"], state["numberRecordsProcessed"]) == ("JobComplete", "V2Query", 3)
    first = results(site, job, maxRecords=2)
    assert (first.headers["Sforce-Locator"], first.headers["Sforce-NumberOfRecords"]) == ("2", "2")
    assert first.text == (
        '"Id","Name","AnnualRevenue","CreatedDate","IsDeleted","Parent.Name"\n'
        f'"{top}","A ""quoted"", name\nin two lines","15000.0","2025-03-12T12:00:00.000Z","false",""\n'
        f'"{second}","B","","2025-03-12T12:00:00.000Z","false","A ""quoted"", name\nin two lines"\n'
    )
    last = results(site, job, locator="2", maxRecords=2)
    assert (last.headers["Sforce-Locator"], last.headers["Sforce-NumberOfRecords"]) == ("null", "1")
    assert [row["Id"] for row in table(last)] == [third]
    assert site.org.billed == before + 4


def test_a_query_job_may_ask_for_other_marks_and_for_the_bin(site):
    [made] = site.org.load([{"object": "Account", "Name": "A"}])
    site.org.delete("Account", made)
    job = ask(site, "SELECT Id, Name FROM Account", operation="queryAll", columnDelimiter="PIPE", lineEnding="CRLF")
    assert results(site, job).text == f'"Id"|"Name"\r\n"{made}"|"A"\r\n'
    assert results(site, ask(site, "SELECT Id FROM Account")).text == '"Id"\n'


def test_a_job_takes_its_time(site):
    site.org.bulk(polls=1)
    job = ask(site, SOQL)
    states = [site.get(f"{Q}/{job['id']}").json()["state"] for _ in range(3)]
    assert states == ["UploadComplete", "InProgress", "JobComplete"]
    early = ask(site, SOQL)
    assert results(site, early).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert site.delete(f"{Q}/{early['id']}").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert site.patch(f"{Q}/{early['id']}", {"state": "Aborted"}).json()["state"] == "Aborted"
    assert site.patch(f"{Q}/{early['id']}", {"state": "Aborted"}).status_code == 400
    assert site.delete(f"{Q}/{early['id']}").status_code == 204
    assert site.get(f"{Q}/{early['id']}").status_code == 404
    assert [each["id"] for each in site.get(Q).json()["records"]] == [job["id"]]


def test_results_are_fetched_by_the_version_of_the_job(site):
    job = ask(site, SOQL)
    assert site.http.get(f"/services/data/v65.0/{Q}/{job['id']}/results").status_code == 409
    for wrong in ({"locator": "x"}, {"locator": "5"}, {"maxRecords": "many"}):
        assert results(site, job, **wrong).status_code == 400
    assert site.get(f"{Q}/750Sb0000000009IAA/results").status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "INVALIDJOB"),
        ({"operation": "insert", "query": SOQL}, "INVALIDJOB"),
        ({"operation": "query", "query": 5}, "INVALIDJOB"),
        ({"operation": "query", "query": "SELECT"}, "MALFORMED_QUERY"),
        ({"operation": "query", "query": "SELECT Nope FROM Account"}, "INVALID_FIELD"),
        ({"operation": "query", "query": "SELECT BillingAddress FROM Account"}, "API_ERROR"),
        ({"operation": "query", "query": "SELECT COUNT() FROM Account"}, "API_ERROR"),
        ({"operation": "query", "query": "SELECT COUNT(Id) FROM Account"}, "API_ERROR"),
        ({"operation": "query", "query": "SELECT Id FROM Account OFFSET 1"}, "API_ERROR"),
        ({"operation": "query", "query": "SELECT Id, (SELECT Id FROM Contacts) FROM Account"}, "API_ERROR"),
        ({"operation": "query", "query": "SELECT TYPEOF What WHEN Account THEN Name END FROM Task"}, "API_ERROR"),
        ({"operation": "query", "query": SOQL, "columnDelimiter": "DOT"}, "INVALIDJOB"),
        ({"operation": "query", "query": SOQL, "lineEnding": []}, "INVALIDJOB"),
    ],
)
def test_a_query_job_is_refused(site, body, code):
    response = site.post(Q, body)
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, code)


# -- ingest


def test_rows_are_taken_in_one_by_one(site):
    text = 'Name,AnnualRevenue,Phone\nA,1.5,\n"B, Inc",much,1\nC,#N/A,2\n'
    path = ingest(site, text)
    job = site.get(path).json()
    assert (job["state"], job["jobType"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (
        "JobComplete", "V2Ingest", 3, 1)  # fmt: skip
    assert job["contentUrl"] == f"services/data/v66.0/{path}/batches"
    rows = site.org.rows("Account")
    assert [(row["Name"], row["AnnualRevenue"], row["Phone"]) for row in rows] == [("A", 1.5, None), ("C", None, "2")]
    good = site.get(f"{path}/successfulResults").text
    assert good == (
        '"sf__Id","sf__Created","Name","AnnualRevenue","Phone"\n'
        f'"{rows[0]["Id"]}","true","A","1.5",""\n"{rows[1]["Id"]}","true","C","#N/A","2"\n'
    )
    [bad] = table(site.get(f"{path}/failedResults"))
    assert (bad["sf__Id"], bad["Name"]) == ("", "B, Inc")
    assert bad["sf__Error"].startswith("INVALID_TYPE_ON_FIELD_IN_RECORD:")
    assert bad["sf__Error"].endswith(" --")
    assert site.get(f"{path}/unprocessedrecords").text == ""


def test_an_empty_value_leaves_alone_and_a_mark_clears(site):
    [made] = site.org.load([{"object": "Account", "Name": "A", "Phone": "1", "Fax": "2"}])
    path = ingest(site, f"Id,Phone,Fax\n{made},,#N/A\n001000000000009AAA,1,\n", operation="update")
    [row] = site.org.rows("Account")
    assert row["Fax"] == "2"  # nobody has looked at the job yet
    [bad] = table(site.get(f"{path}/failedResults"))
    assert bad["sf__Error"] == "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id: --"
    [row] = site.org.rows("Account")
    assert (row["Phone"], row["Fax"]) == ("1", None)
    [good] = table(site.get(f"{path}/successfulResults"))
    assert good["sf__Created"] == "false"


def test_rows_are_upserted_and_deleted(site):
    [old] = site.org.load([{"object": "Contact", "LastName": "Old", "Email": "old@example.com"}])
    text = "Email,LastName,ReportsTo.Email\nOLD@example.com,Changed,\nnew@example.com,New,old@example.com\n,None,\n"
    path = ingest(site, text, object="contact", operation="upsert", externalIdFieldName="email")
    created = [row["sf__Created"] for row in table(site.get(f"{path}/successfulResults"))]
    assert created == ["false", "true"]
    assert table(site.get(f"{path}/failedResults"))[0]["sf__Error"] == "MISSING_ARGUMENT:Email not specified:Email --"
    assert {row["LastName"]: row["ReportsToId"] for row in site.org.rows("Contact")} == {"Changed": None, "New": old}
    path = ingest(site, f"Id\n{old}\n{old}\nrubbish\n", object="Contact", operation="delete")
    wrong = [row["sf__Error"].split(":")[0] for row in table(site.get(f"{path}/failedResults"))]
    assert wrong == ["ENTITY_IS_DELETED", "MALFORMED_ID"]
    assert [row["LastName"] for row in site.org.rows("Contact")] == ["New"]


def test_a_hard_delete_goes_past_the_bin_by_those_who_may(site):
    gone, binned, kept = site.org.load([{"object": "Account", "Name": name} for name in "ABC"])
    site.org.delete("Account", binned)
    refused = site.post(INGEST, {"object": "Account", "operation": "hardDelete"})
    assert refused.json()[0]["message"].startswith("hardDelete operation requires special user profile permission")
    site.org.permit("integration@sandbox.example", hard_delete=True)
    path = ingest(site, f"Id\n{gone}\n{binned}\n001000000000009AAA\n", operation="hardDelete")
    assert [row["sf__Id"] for row in table(site.get(f"{path}/successfulResults"))] == [gone]
    wrong = [row["sf__Error"].split(":")[0] for row in table(site.get(f"{path}/failedResults"))]
    assert wrong == ["ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"]
    found = site.query("SELECT Id FROM Account", "queryAll").json()["records"]
    assert [row["Id"] for row in found] == [binned, kept]
    assert site.get(f"sobjects/Account/{gone}").status_code == 404
    with pytest.raises(ValueError, match="has no row"):
        site.org.undelete("Account", gone)
    window = "start=2025-03-12T11:00:00Z&end=2025-03-12T13:00:00Z"
    told = site.get(f"sobjects/Account/deleted/?{window}").json()["deletedRecords"]
    assert [row["id"] for row in told] == [gone, binned]
    assert site.org.load([{"object": "Account", "Name": "D"}]) not in ([gone], [binned])


def test_a_locked_row_fails_alone(site):
    site.org.fault("Account", verb="write", status="lock_row", nth=2)
    path = ingest(site, "Name\nA\nB\nC\n")
    assert site.get(path).json()["numberRecordsFailed"] == 1
    assert table(site.get(f"{path}/failedResults"))[0]["sf__Error"].startswith("UNABLE_TO_LOCK_ROW:unable to obtain")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Nope\n1\n", "InvalidBatch : Field name not found : Nope"),
        ("Nope.Email\n1\n", "InvalidBatch : Field name not found : Nope.Email"),
        ("Name,Name\n1,2\n", "stands twice"),
        ("Name,Phone\n1\n", "Row 1 has 1 columns"),
        ("", "header"),
        (b"Name\n\xff\n", "not UTF-8"),
        ('Name\n"open\n', "Failed to parse CSV"),
    ],
)
def test_a_broken_table_fails_the_job_as_a_whole(site, text, says):
    path = ingest(site, text)
    job = site.get(path).json()
    assert job["state"] == "Failed"
    assert says in job["errorMessage"]
    assert site.org.rows("Account") == []


def test_an_aborted_job_gives_its_rows_back(site):
    site.org.bulk(polls=1)
    path = ingest(site, "Name\nA\n")
    assert site.get(path).json()["state"] == "UploadComplete"
    assert site.patch(path, {"state": "Aborted"}).json()["state"] == "Aborted"
    assert site.get(f"{path}/unprocessedrecords").text == "Name\nA\n"
    assert site.delete(path).status_code == 204
    assert site.get(path).status_code == 404


def test_a_job_takes_its_data_once(site):
    path = f"{INGEST}/{site.post(INGEST, {'object': 'Account', 'operation': 'insert'}).json()['id']}"
    url, head = f"/services/data/v66.0/{path}/batches", {"Content-Type": "text/csv"}
    assert site.http.put(url, content="x", headers={"Content-Type": "application/json"}).status_code == 415
    assert site.http.put(url, content="Name\nA\n", headers=head).status_code == 201
    assert site.http.put(url, content="Name\nA\n", headers=head).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert site.patch(path, {"state": "Open"}).json()[0]["errorCode"] == "INVALIDJOB"
    assert site.get(f"{path}/successfulResults").json()[0]["errorCode"] == "INVALIDJOBSTATE"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "INVALIDJOB"),
        ({"object": "Nope", "operation": "insert"}, 400, "INVALIDENTITY"),
        ({"object": "Account", "operation": "hardDelete"}, 400, "FEATURENOTENABLED"),
        ({"object": "Account", "operation": "upsert"}, 400, "INVALIDJOB"),
        ({"object": "Account", "operation": "upsert", "externalIdFieldName": "Phone"}, 400, "INVALIDJOB"),
        ({"object": "Account", "operation": "insert", "contentType": "XML"}, 400, "INVALIDJOB"),
        ({"object": ["Account"], "operation": ["insert"]}, 400, "INVALIDJOB"),
    ],
)
def test_an_ingest_job_is_refused(site, body, status, code):
    response = site.post(INGEST, body)
    assert (response.status_code, response.json()[0]["errorCode"]) == (status, code)


def test_a_job_fails_where_its_object_is_hidden_meanwhile(site):
    path = ingest(site, "Name\nA\n")
    site.org.permit("integration@sandbox.example", objects={"Account": "none"})
    job = site.get(path).json()
    assert (job["state"], job["errorMessage"]) == ("Failed", "InvalidBatch : no access to Account")
