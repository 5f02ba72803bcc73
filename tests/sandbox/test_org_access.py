"""What is hidden from a user is not there: in describe, in SOQL, in writes, in external ids."""

from contextlib import contextmanager

import httpx
import pytest

ANN = "ann@example.com"
HIDDEN = {
    "username": ANN,
    "password": "secret",
    "objects": {"Lead": "none", "Contact": "read", "Case": "edit"},
    "fields": {
        "Account.Phone": "none",
        "Account.Industry": "read",
        "Account.BillingAddress": "none",
        "Contact.AccountId": "none",
        "User.Email": "none",
    },
}


@pytest.fixture
def ann(site_with):
    with site_with(users=[HIDDEN]) as site, signed_in(site):
        yield site


@contextmanager
def signed_in(site):
    form = {"grant_type": "password", "client_id": "sandbox", "client_secret": "sandbox"}
    answer = site.bare.post(f"{site.url}/services/oauth2/token", data={**form, "username": ANN, "password": "secret"})
    before = site.http.headers["Authorization"]
    site.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    yield before


def error(response: httpx.Response):
    return response.status_code, response.json()[0]["errorCode"], response.json()[0]["message"].split("\n")[-1]


def fields_of(site, name):
    return {field["name"]: field for field in site.get(f"sobjects/{name}/describe").json()["fields"]}


def test_a_hidden_field_is_absent_from_describe(ann):
    fields = fields_of(ann, "Account")
    assert "Phone" not in fields
    assert not {"BillingAddress", "BillingCity", "BillingStreet"} & fields.keys()
    assert (fields["Industry"]["createable"], fields["Industry"]["updateable"]) == (False, False)
    assert "Fax" in fields


def test_a_hidden_object_is_not_there(ann):
    assert "Lead" not in {entry["name"] for entry in ann.get("sobjects").json()["sobjects"]}
    assert ann.get("sobjects/Lead/describe").status_code == 404
    assert ann.post("sobjects/Lead", {"LastName": "x"}).status_code == 404
    assert error(ann.query("SELECT Id FROM Lead"))[:2] == (400, "INVALID_TYPE")
    fields = fields_of(ann, "Task")
    assert fields["WhoId"]["relationshipName"] == "Who"  # Contact is still to be seen


def test_a_child_relationship_goes_with_its_field(ann):
    children = ann.get("sobjects/Account/describe").json()["childRelationships"]
    assert "Contacts" not in [child["relationshipName"] for child in children]
    assert error(ann.query("SELECT (SELECT Id FROM Contacts) FROM Account"))[1] == "INVALID_TYPE"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT Phone FROM Account",
        "SELECT Id FROM Account WHERE Phone = '1'",
        "SELECT Id FROM Account ORDER BY Phone",
        "SELECT Owner.Email FROM Account",
        "SELECT BillingCity FROM Account",
        "SELECT COUNT(Phone) FROM Account",
        "SELECT Phone, COUNT(Id) FROM Account GROUP BY Phone",
        "SELECT toLabel(Phone) FROM Account",
        "SELECT TYPEOF What WHEN Account THEN Phone END FROM Task",
        "SELECT What.Phone FROM Task",
        "SELECT Id FROM Contact WHERE Account.Name = 'x'",
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact)",
    ],
)
def test_soql_knows_no_hidden_field(ann, query):
    assert error(ann.query(query))[:2] == (400, "INVALID_FIELD")


def test_soql_words_it_as_for_an_unknown_field(ann):
    status, code, message = error(ann.query("SELECT Phone FROM Account"))
    assert (status, code) == (400, "INVALID_FIELD")
    assert message.startswith("No such column 'Phone' on entity 'Account'.")


def test_fields_all_leaves_out_what_is_hidden(ann):
    ann.org.load([{"object": "Account", "Name": "Acme", "Phone": "1", "BillingCity": "Bonn"}])
    [row] = ann.query("SELECT FIELDS(ALL) FROM Account LIMIT 1").json()["records"]
    assert not {"Phone", "BillingCity", "BillingAddress"} & row.keys()
    [read] = ann.org.rows("Account")
    assert not {"Phone", "BillingAddress"} & ann.get(f"sobjects/Account/{read['Id']}").json().keys()
    assert error(ann.get(f"sobjects/Account/{read['Id']}?fields=Phone"))[1] == "INVALID_FIELD"


def test_writes_of_hidden_and_of_read_only_fields_are_refused(ann):
    assert error(ann.post("sobjects/Account", {"Name": "x", "Phone": "1"})) == (
        400, "INVALID_FIELD", "No such column 'Phone' on sobject of type Account")  # fmt: skip
    response = ann.post("sobjects/Account", {"Name": "x", "Industry": "Energy"})
    assert error(response)[:2] == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    assert response.json()[0]["fields"] == ["Industry"]


def test_what_is_hidden_is_kept_all_the_same(ann):
    made = ann.post("sobjects/Account", {"Name": "x"}).json()["id"]
    ann.org.edit("Account", made, {"Phone": "1"})
    assert ann.patch(f"sobjects/Account/{made}", {"Name": "y"}).status_code == 204
    [row] = ann.org.rows("Account")
    assert (row["Name"], row["Phone"], row["IsDeleted"]) == ("y", "1", False)


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [("POST", "Contact", 403), ("PATCH", "Contact", 403), ("DELETE", "Contact", 403), ("POST", "Case", 201),
     ("PATCH", "Case", 204), ("DELETE", "Case", 403)],
)  # fmt: skip
def test_an_object_may_be_read_only_or_without_delete(ann, method, name, status):
    fields = {"Contact": {"LastName": "x"}, "Case": {"Subject": "x"}}[name]
    [made] = ann.org.load([{"object": name, **fields}])
    path = f"sobjects/{name}" if method == "POST" else f"sobjects/{name}/{made}"
    response = ann.http.request(method, f"/services/data/v66.0/{path}", json=fields)
    assert response.status_code == status
    if status == 403:
        assert error(response)[1] == "INSUFFICIENT_ACCESS_OR_READONLY"
    about = ann.get(f"sobjects/{name}/describe").json()
    flag = {"POST": "createable", "PATCH": "updateable", "DELETE": "deletable"}[method]
    assert about[flag] is (status < 300)


def test_the_others_see_everything(site_with):
    with site_with(users=[HIDDEN]) as site:
        assert "Phone" in fields_of(site, "Account")
        assert site.query("SELECT Phone FROM Account").status_code == 200


def test_a_field_vanishes_while_somebody_works(site_with):
    with site_with(users=[{"username": ANN, "password": "secret"}]) as site, signed_in(site):
        tag = site.get("sobjects/Account/describe").headers["ETag"]
        assert site.query("SELECT Phone FROM Account").status_code == 200
        answer = site.bare.post(
            f"{site.url}/sandbox/permit", json={"username": ANN, "fields": {"Account.Phone": "none"}}
        )
        assert answer.status_code == 200
        assert error(site.query("SELECT Phone FROM Account"))[1] == "INVALID_FIELD"
        again = site.get("sobjects/Account/describe", headers={"If-None-Match": tag})
        assert (again.status_code, again.headers["Last-Modified"]) == (200, "Wed, 12 Mar 2025 12:00:00 GMT")
        site.org.permit(ANN, fields={"Account.Phone": "all"})
        assert site.query("SELECT Phone FROM Account").status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"username": "nobody"}, {"username": ANN, "fields": {"Account.Nope": "none"}},
     {"username": ANN, "objects": "Account"}, {"username": ANN, "fields": {"Account.Id": "none"}},
     {"username": ANN, "objects": {"Account": 5}}],
)  # fmt: skip
def test_a_mistake_in_a_permission_is_named(ann, body):
    response = ann.bare.post(f"{ann.url}/sandbox/permit", json=body)
    assert (response.status_code, "error" in response.json()) == (400, True)


def test_a_composite_and_a_collection_see_the_same(ann):
    results = ann.composite({"url": "/services/data/v66.0/query?q=SELECT Phone FROM Account"})
    assert results[0]["body"][0]["errorCode"] == "INVALID_FIELD"
    records = [{"attributes": {"type": "Account"}, "Name": "x", "Phone": "1"}]
    [row] = ann.post("composite/sobjects", {"records": records}).json()
    assert (row["success"], row["errors"][0]["statusCode"]) == (False, "INVALID_FIELD")
