"""A client of strangers drives the org: simple-salesforce, over plain HTTP."""

from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from sandbox_site import NOW
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)

PROSPECT = "a01P00000000001IAA"


class PlainHttp(HTTPAdapter):
    """simple-salesforce always speaks https; this turns it round to the org."""

    def __init__(self, target):
        super().__init__()
        self.target = target

    def send(self, request, **given):
        parts = urlsplit(request.url)
        request.url = urlunsplit(("http", self.target, parts.path, parts.query, ""))
        return super().send(request, **given)


@pytest.fixture
def client(site_with):
    with site_with(page_size=2) as site, requests.Session() as session:
        session.mount("https://", PlainHttp(urlsplit(site.url).netloc))
        signed_in = Salesforce(
            consumer_key="sandbox", consumer_secret="sandbox", domain="acme.my", session=session, version="66.0"
        )
        signed_in.org = site.org
        yield signed_in


def test_it_signs_in_by_client_credentials(client):
    assert client.session_id in client.org.sessions.live


def test_it_signs_in_by_user_name_and_password(site_with):
    users = [{"username": "ann@example.com", "password": "secret"}]
    with site_with(users=users) as site, requests.Session() as session:
        session.mount("https://", PlainHttp(urlsplit(site.url).netloc))
        login = {"username": "ann@example.com", "consumer_key": "sandbox", "consumer_secret": "sandbox"}
        signed_in = Salesforce(**login, password="secret", session=session, version="66.0")
        assert signed_in.limits()["DailyApiRequests"]["Max"] == 15000
        with pytest.raises(SalesforceAuthenticationFailed) as caught:
            Salesforce(**login, password="wrong", session=session)
        assert caught.value.code == "invalid_grant"
        assert "authentication failure - Invalid Password" in str(caught.value)


def test_it_writes_and_reads_a_row(client):
    made = client.Account.create({"Name": "Acme", "AnnualRevenue": 5})["id"]
    assert client.Account.get(made)["AnnualRevenue"] == 5.0
    assert client.Account.update(made, {"Name": "Acme Inc"}) == 204
    assert client.query("SELECT Name FROM Account")["records"][0]["Name"] == "Acme Inc"
    assert client.Account.delete(made) == 204
    with pytest.raises(SalesforceResourceNotFound):
        client.Account.get(made)
    assert client.query("SELECT Id FROM Account", include_deleted=True)["totalSize"] == 1


def test_it_pages_through_everything(client):
    client.org.load([{"object": "Account", "Name": f"{number}"} for number in range(7)])
    assert [row["Name"] for row in client.query_all("SELECT Name FROM Account ORDER BY Name")["records"]] == list(
        "0123456"
    )
    assert len(list(client.query_all_iter("SELECT Id FROM Account", include_deleted=True))) == 7


def test_it_reads_parents_and_children(client):
    client.org.load([{"object": "i360__Prospect__c", "Id": PROSPECT, "Name": "Ann"}])
    client.org.load([{"object": "i360__Project__c", "i360__Prospect__c": PROSPECT, "i360__Status__c": "Completed"}])
    [row] = client.query(
        "SELECT Name, (SELECT i360__Status__c, i360__Prospect__r.Name FROM i360__Projects__r) FROM i360__Prospect__c"
    )["records"]
    [child] = row["i360__Projects__r"]["records"]
    assert (child["i360__Status__c"], child["i360__Prospect__r"]["Name"]) == ("Completed", "Ann")


def test_it_describes(client):
    assert "Account" in [entry["name"] for entry in client.describe()["sobjects"]]
    assert client.Account.describe()["keyPrefix"] == "001"
    assert client.Account.metadata()["objectDescribe"]["name"] == "Account"


def test_it_sends_a_composite_and_collections(client):
    body = {
        "compositeRequest": [
            {
                "method": "POST",
                "url": "/services/data/v66.0/sobjects/Account",
                "referenceId": "made",
                "body": {"Name": "A"},
            },
            {
                "method": "GET",
                "url": "/services/data/v66.0/sobjects/Account/@{made.id}?fields=Name",
                "referenceId": "read",
            },
        ]
    }
    results = client.restful("composite", method="POST", json=body)["compositeResponse"]
    assert results[1]["body"]["Name"] == "A"
    records = [{"attributes": {"type": "Account"}, "Name": name} for name in "BC"]
    assert all(row["success"] for row in client.restful("composite/sobjects", method="POST", json={"records": records}))


def test_it_understands_the_errors(client):
    with pytest.raises(SalesforceMalformedRequest) as caught:
        client.query("SELECT Nope FROM Account")
    assert caught.value.content[0]["errorCode"] == "INVALID_FIELD"
    with pytest.raises(SalesforceMalformedRequest) as caught:
        client.Account.create({"Nope__c": 1})
    assert caught.value.content[0]["message"] == "No such column 'Nope__c' on sobject of type Account"


def test_it_sees_how_many_calls_are_used(client):
    client.query("SELECT Id FROM Account")
    assert client.api_usage["api-usage"].used == 1


def test_the_clock_stands(client):
    assert client.org.now() == NOW
