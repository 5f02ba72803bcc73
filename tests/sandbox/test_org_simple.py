"""simple-salesforce drives collections, composite, bulk, files and what changed; test_org_clients.py has the rest."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import requests
from sandbox_site import site_of
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceGeneralError, SalesforceMalformedRequest
from test_org_clients import PlainHttp

NOW = datetime(2025, 3, 12, 12, tzinfo=UTC)


@pytest.fixture
def client(new_org):
    with site_of(new_org(page_size=2)) as site, requests.Session() as session:
        session.mount("https://", PlainHttp(urlsplit(site.url).netloc))
        signed_in = Salesforce(session_id=site.sign_in(), instance_url=site.url, session=session, version="66.0")
        signed_in.org = site.org
        yield signed_in


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("simple_salesforce.bulk2.sleep", lambda _: None)  # it polls every five seconds


def test_it_takes_rows_in_by_bulk(client):
    client.org.bulk(polls=1)
    [done] = client.bulk2.Account.insert(records=[{"Name": "A", "Phone": "1"}, {"Name": "B", "Phone": ""}])
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"], done["numberRecordsTotal"]) == (2, 0, 2)
    job = done["job_id"]
    assert client.bulk2.Account.get_successful_records(job).count("\n") == 3
    head = client.bulk2.Account.get_failed_records(job)  # the client shuffles the columns
    assert sorted(head.strip().split(",")) == ['"Name"', '"Phone"', '"sf__Error"', '"sf__Id"']
    assert client.bulk2.Account.get_unprocessed_records(job) == ""
    ids = [row["Id"] for row in client.org.rows("Account")]
    client.bulk2.Account.update(records=[{"Id": ids[0], "Name": "A2"}])
    [gone] = client.bulk2.Account.delete(records=[{"Id": ids[1]}, {"Id": "001000000000009AAA"}])
    assert gone["numberRecordsFailed"] == 1
    client.bulk2.Contact.upsert(records=[{"Email": "a@example.com", "LastName": "x"}], external_id_field="Email")
    assert [row["Name"] for row in client.org.rows("Account")] == ["A2"]
    assert len(client.org.rows("Contact")) == 1


def test_it_queries_by_bulk(client, tmp_path):
    client.org.load([{"object": "Account", "Name": f"n{number}"} for number in range(5)])
    pages = list(client.bulk2.Account.query("SELECT Name FROM Account ORDER BY Name", max_records=2))
    assert pages == ['"Name"\n"n0"\n"n1"\n', '"Name"\n"n2"\n"n3"\n', '"Name"\n"n4"\n']
    found = client.bulk2.Account.download("SELECT Name FROM Account", path=str(tmp_path), max_records=50_000)
    assert found[0]["number_of_records"] == 5
    with pytest.raises(SalesforceMalformedRequest):
        list(client.bulk2.Account.query("SELECT Nope FROM Account"))


def test_it_sends_many_rows_at_once(client):
    kind = {"attributes": {"type": "Account"}}
    made = client.restful(
        "composite/sobjects", method="POST", json={"records": [{**kind, "Name": name} for name in "ABC"]}
    )
    ids = ",".join(row["id"] for row in made)
    shown = client.restful("composite/sobjects/Account", params={"ids": ids, "fields": "Name"})
    assert [row["Name"] for row in shown] == ["A", "B", "C"]
    gone = client.restful("composite/sobjects", method="DELETE", params={"ids": ids, "allOrNone": "true"})
    assert [row["success"] for row in gone] == [True] * 3
    requests_ = [{"method": "GET", "url": "v66.0/query?q=SELECT COUNT() FROM Account"}] * 2
    body = client.restful("composite/batch", method="POST", json={"batchRequests": requests_})
    assert [result["statusCode"] for result in body["results"]] == [200, 200]


def test_it_upserts_and_pages_with_children(client):
    assert client.Contact.upsert("Email/ann%40example.com", {"LastName": "Ann"}) == 201
    assert client.Contact.upsert("Email/ann%40example.com", {"LastName": "Ann Lee"}) == 200
    assert client.Contact.get_by_custom_id("Email", "ann@example.com")["LastName"] == "Ann Lee"
    account = client.Account.create({"Name": "A"})["id"]
    client.org.load([{"object": "Contact", "LastName": f"c{number}", "AccountId": account} for number in range(5)])
    [row] = client.query_all("SELECT Name, (SELECT LastName FROM Contacts) FROM Account")["records"]
    children = row["Contacts"]
    names = [child["LastName"] for child in children["records"]]
    while not children["done"]:
        children = client.query_more(children["nextRecordsUrl"], identifier_is_url=True)
        names += [child["LastName"] for child in children["records"]]
    assert names == [f"c{number}" for number in range(5)]


def test_it_asks_what_changed(client):
    made = client.Account.create({"Name": "A"})["id"]
    gone = client.Account.create({"Name": "B"})["id"]
    client.Account.delete(gone)
    window = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    assert client.Account.updated(*window)["ids"] == [made]
    assert [row["id"] for row in client.Account.deleted(*window)["deletedRecords"]] == [gone]


def test_it_sends_and_fetches_a_file(client, tmp_path):
    account = client.Account.create({"Name": "A"})["id"]
    body = {
        "PathOnClient": "a.txt",
        "VersionData": base64.b64encode(b"hello").decode(),
        "FirstPublishLocationId": account,
    }
    made = client.ContentVersion.create(body)["id"]
    assert client.ContentVersion.get(made)["ContentSize"] == 5
    answer = client._call_salesforce("GET", f"{client.base_url}sobjects/ContentVersion/{made}/VersionData")
    assert answer.content == b"hello"
    path = tmp_path / "b.bin"
    path.write_bytes(b"bytes")
    attachment = {"Name": "b.bin", "ParentId": account, "Body": base64.b64encode(path.read_bytes()).decode()}
    made = client.Attachment.create(attachment)["id"]
    assert client.Attachment.get_base64(made) == b"bytes"


def test_it_tells_a_page_from_an_answer(client):
    client.org.fault("Account", status=420)
    with pytest.raises(SalesforceGeneralError) as caught:
        client.query("SELECT Id FROM Account")
    assert (caught.value.status, "Too many requests" in str(caught.value.content)) == (420, True)
