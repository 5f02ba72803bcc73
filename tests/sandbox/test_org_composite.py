"""Composite: many requests in one call, one bill, references, all or none."""

import pytest

V = "/services/data/v66.0"
ONE = {"url": f"{V}/query?q=SELECT COUNT() FROM Account"}


def make(name, **more):
    return {"method": "POST", "url": f"{V}/sobjects/Account/", "body": {"Name": name}, **more}


def test_every_subrequest_answers_for_itself(site):
    results = site.composite(ONE, {"url": f"{V}/sobjects/Nope/describe"}, {"url": f"{V}/query?q=SELECT"}, make("A"))
    assert [result["httpStatusCode"] for result in results] == [200, 404, 400, 201]
    assert [result["referenceId"] for result in results] == ["r0", "r1", "r2", "r3"]
    assert all(result.keys() == {"body", "httpHeaders", "httpStatusCode", "referenceId"} for result in results)
    assert results[0]["body"] == {"totalSize": 0, "done": True, "records": []}
    assert results[3]["httpHeaders"]["Location"] == f"{V}/sobjects/Account/{results[3]['body']['id']}"


def test_a_composite_is_one_call(site):
    before = site.org.billed
    site.composite(*[ONE] * 5, *[make("A")] * 20)
    assert site.org.billed == before + 1
    assert len(site.org.queries) == 5


@pytest.mark.parametrize(
    "query",
    ["SELECT Name FROM Account WHERE Name LIKE '50%+ & more%'", "SELECT+Name+FROM+Account+WHERE+Name+LIKE+%2750%25%2B+%26+more%25%27",
     "SELECT%20Name%20FROM%20Account%20WHERE%20Name%20LIKE%20'50%25%2B%20%26%20more%25'"],
)  # fmt: skip
def test_the_url_of_a_subrequest_may_be_encoded_or_plain(site, query):
    site.org.load([{"object": "Account", "Name": "50%+ & more"}, {"object": "Account", "Name": "50"}])
    [result] = site.composite({"url": f"{V}/query?q={query}"})
    assert result["body"]["totalSize"] == 1, result


def test_a_later_subrequest_may_refer_to_an_earlier_one(site):
    results = site.composite(
        make("Parent", referenceId="parent"),
        make("Child", body={"Name": "@{parent.id} of @{parent.id}", "ParentId": "@{parent.id}"}),
        {"url": V + "/query?q=SELECT Id, Name FROM Account WHERE ParentId = '@{parent.id}'", "referenceId": "found"},
        {"method": "DELETE", "url": V + "/sobjects/Account/@{found.records[0].Id}"},
    )
    parent = results[0]["body"]["id"]
    assert results[2]["body"]["records"][0]["Name"] == f"{parent} of {parent}"
    assert [result["httpStatusCode"] for result in results] == [201, 201, 200, 204]
    assert [row["Name"] for row in site.org.rows("Account")] == ["Parent"]


def test_what_depends_on_a_failure_is_halted(site):
    results = site.composite(
        make("x", body={"foo": 1}, referenceId="bad"), make("x", body={"Name": "@{bad.id}"}), make("Free")
    )
    assert [result["httpStatusCode"] for result in results] == [400, 400, 201]
    assert results[1]["body"][0]["errorCode"] == "PROCESSING_HALTED"


def test_all_or_none_undoes_everything(site):
    results = site.composite(make("A"), make("x", body={"foo": 1}), make("B"), allOrNone=True)
    assert [result["body"][0]["errorCode"] for result in results] == [
        "PROCESSING_HALTED",
        "INVALID_FIELD",
        "PROCESSING_HALTED",
    ]
    assert [result["httpStatusCode"] for result in results] == [400, 400, 400]
    assert site.org.rows("Account") == []


def of_contacts(method, path, made):
    """Five collections of 200 rows each."""
    kind = {"attributes": {"type": "Contact"}}
    return [
        {"method": method, "url": f"{V}/composite/sobjects{path}", "body": {"records": [{**kind, **made(200 * part + row)} for row in range(200)]}}
        for part in range(5)
    ]  # fmt: skip


def test_a_thousand_rows_are_one_call(site):
    before = site.org.billed
    made = site.composite(*of_contacts("POST", "", lambda n: {"LastName": str(n), "Email": f"{n}@example.com"}))
    ids = [row["id"] for result in made for row in result["body"]]
    site.composite(*of_contacts("PATCH", "", lambda n: {"id": ids[n], "Phone": "1"}))
    again = site.composite(*of_contacts("PATCH", "/Contact/Email", lambda n: {"Email": f"{n}@example.com", "Fax": "2"}))
    new = site.composite(
        *of_contacts("PATCH", "/Contact/Email/", lambda n: {"Email": f"n{n}@example.com", "LastName": "x"})
    )
    assert site.org.billed == before + 4
    assert [row["id"] for result in again for row in result["body"]] == ids
    created = [[row["created"] for result in results for row in result["body"]] for results in (again, new)]
    assert created == [[False] * 1000, [True] * 1000]
    rows = site.org.rows("Contact")
    assert len(rows) == 2000
    assert {(row["Phone"], row["Fax"]) for row in rows[:1000]} == {("1", "2")}


def test_what_was_deleted_is_found_through_queryall_inside(site):
    ids = site.org.load([{"object": "Account", "Name": str(number)} for number in range(401)])
    for each in ids:
        site.org.delete("Account", each)
    few = {"Sforce-Query-Options": "batchSize=200"}
    url = f"{V}/queryAll?q=SELECT Id, IsDeleted FROM Account"
    [gone, hidden] = site.composite({"url": url, "httpHeaders": few}, {"url": url.replace("queryAll", "query")})
    found = [*gone["body"]["records"]]
    while "nextRecordsUrl" in gone["body"]:
        [gone] = site.composite({"url": gone["body"]["nextRecordsUrl"]})
        found += gone["body"]["records"]
    assert [(row["Id"], row["IsDeleted"]) for row in found] == [(each, True) for each in ids]
    assert hidden["body"]["totalSize"] == 0


@pytest.mark.parametrize(
    "requests",
    [[ONE] * 6, [make("A")] * 26, [{**ONE, "referenceId": "same"}] * 2, [{"url": 5}], [{"method": None}], ["x"], [{**ONE, "httpHeaders": 5}],
     [{"url": f"{V}/query/0r8Sb0000000001IAA-2"}] * 3 + [{"method": "POST", "url": f"{V}/composite/sobjects"}] * 3],
)  # fmt: skip
def test_a_composite_out_of_bounds_is_refused_as_a_whole(site, requests):
    listed = [
        {"method": "GET", "referenceId": f"r{place}", **request} if isinstance(request, dict) else request
        for place, request in enumerate(requests)
    ]
    response = site.post("composite", {"compositeRequest": listed})
    assert response.status_code == 400
    assert site.org.queries == []


@pytest.mark.parametrize(
    "url", [f"{V}/composite", "/somewhere/else", f"{V}/query?q=SELECT Id FROM Account WHERE Id = '@{{r9.id}}'"]
)
def test_a_wrong_subrequest_fails_alone(site, url):
    results = site.composite({"url": url, "method": "POST"}, ONE)
    assert [result["httpStatusCode"] for result in results] == [400, 200]


def test_subrequests_have_their_own_version_and_headers(site_with):
    with site_with() as site:
        site.org.load([{"object": "Account", "Name": str(number)} for number in range(201)])
        url = "/services/data/v50.0/query?q=SELECT Id FROM Account"
        [result] = site.composite({"url": url, "httpHeaders": {"Sforce-Query-Options": "batchSize=200"}})
        assert len(result["body"]["records"]) == 200
        assert result["body"]["nextRecordsUrl"].startswith("/services/data/v50.0/query/0r8")
