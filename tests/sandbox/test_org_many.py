"""Composite's inner rules, batch, graph, trees, and collections that delete and read."""

import pytest

V = "/services/data/v66.0"
ONE = {"url": f"{V}/query?q=SELECT COUNT() FROM Account"}
KIND = {"attributes": {"type": "Account"}}


def make(name, **more):
    return {"method": "POST", "url": f"{V}/sobjects/Account", "body": {"Name": name}, **more}


def names(site):
    return [row["Name"] for row in site.org.rows("Account")]


def collection(*records, reference="many", **body):
    return {"method": "POST", "url": f"{V}/composite/sobjects", "body": {"records": list(records), **body}, "referenceId": reference}  # fmt: skip


# -- composite


def test_all_or_none_stops_at_the_first_failure(site):
    results = site.composite(make("A"), {"url": f"{V}/sobjects/Nope/describe"}, make("B"), allOrNone=True)
    assert [result["httpStatusCode"] for result in results] == [400, 404, 400]
    assert [result["body"][0]["errorCode"] for result in results] == ["PROCESSING_HALTED", "NOT_FOUND", "PROCESSING_HALTED"]  # fmt: skip
    assert [result["referenceId"] for result in results] == ["r0", "r1", "r2"]
    assert names(site) == []


def test_the_outer_all_or_none_counts(site):
    good, bad = {**KIND, "Name": "A"}, {**KIND, "foo": 1}
    results = site.composite(make("first"), collection(good, bad, allOrNone=False), allOrNone=True)
    assert [result["httpStatusCode"] for result in results] == [400, 200]
    rolled, wrong = results[1]["body"]
    assert rolled["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert wrong["errors"][0]["statusCode"] == "INVALID_FIELD"
    assert names(site) == []
    site.composite(make("first"), collection(good, bad, allOrNone=False))
    assert names(site) == ["first", "A"]


def test_an_outer_all_or_none_reaches_a_delete_by_ids(site):
    [made] = site.org.load([{"object": "Account", "Name": "A"}])
    url = f"{V}/composite/sobjects?ids={made},001000000000009AAA"
    results = site.composite({"method": "DELETE", "url": url}, allOrNone=True)
    assert results[0]["body"][0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert names(site) == ["A"]


def test_references_reach_into_lists_and_pages(site):
    results = site.composite(
        collection({**KIND, "Name": "A"}, {**KIND, "Name": "B"}),
        make("C", body={"Name": "C", "ParentId": "@{many[1].id}"}),
        {"url": f"{V}/query?q=SELECT Id FROM Account ORDER BY Name DESC LIMIT 1", "referenceId": "last"},
        {"method": "POST", "url": f"{V}/sobjects/Account/@{{last.records[0].Id}}?_HttpMethod=PATCH", "body": {"Phone": "@{many[0].id}"}},
        make("D", body={"Name": "@{many[9].id}"}),
        make("E", body={"Name": "@{nothing.id}"}),
    )  # fmt: skip
    assert [result["httpStatusCode"] for result in results] == [200, 201, 200, 204, 400, 400]
    assert [result["body"][0]["errorCode"] for result in results[4:]] == ["PROCESSING_HALTED"] * 2
    rows = site.org.rows("Account")
    assert (rows[2]["ParentId"], rows[2]["Phone"]) == (rows[1]["Id"], rows[0]["Id"])


def test_graphs_are_all_or_none_each_for_itself(site):
    good = {
        "graphId": "g1",
        "compositeRequest": [make("A", referenceId="a"), make("B", referenceId="b", body={"Name": "@{a.id}"})],
    }
    bad = {
        "graphId": "g2",
        "compositeRequest": [make("C", referenceId="a"), make("D", referenceId="b", body={"foo": 1})],
    }
    before = site.org.billed
    graphs = site.post("composite/graph", {"graphs": [good, bad]}).json()["graphs"]
    assert site.org.billed == before + 1
    assert [(graph["graphId"], graph["isSuccessful"]) for graph in graphs] == [("g1", True), ("g2", False)]
    statuses = [[part["httpStatusCode"] for part in graph["graphResponse"]["compositeResponse"]] for graph in graphs]
    assert statuses == [[201, 201], [400, 400]]
    assert names(site) == ["A", site.org.rows("Account")[0]["Id"]]  # fmt: skip


@pytest.mark.parametrize("body", [{}, {"graphs": 5}, {"graphs": [5]}, {"graphs": [{"graphId": "a"}]}])
def test_a_broken_graph_is_a_parser_error(site, body):
    assert site.post("composite/graph", body).json()[0]["errorCode"] == "JSON_PARSER_ERROR"


# -- batch


def test_a_batch_bills_each_of_its_requests(site):
    before = site.org.billed
    requests = [
        {"method": "GET", "url": "v66.0/query?q=SELECT COUNT() FROM Account"},
        {"method": "POST", "url": f"{V}/sobjects/Account", "richInput": {"Name": "A"}},
        {"method": "GET", "url": "v66.0/sobjects/Nope"},
        {"method": "GET", "url": "v66.0/composite/batch"},
        {"method": "GET", "url": "/v66.0/limits"},
    ]
    body = site.post("composite/batch", {"batchRequests": requests}).json()
    assert (body["hasErrors"], [result["statusCode"] for result in body["results"]]) == (
        True,
        [200, 201, 404, 400, 200],
    )
    assert body["results"][1]["result"]["success"] is True
    assert site.org.billed == before + 4  # what is no resource of a batch is not billed


def test_a_batch_may_halt_and_undoes_nothing(site):
    requests = [{"method": "POST", "url": "v66.0/sobjects/Account", "richInput": body} for body in ({"Name": "A"}, {"foo": 1}, {"Name": "B"})]  # fmt: skip
    results = site.post("composite/batch", {"batchRequests": requests, "haltOnError": True}).json()["results"]
    assert [result["statusCode"] for result in results] == [201, 400, 412]
    assert results[2]["result"][0]["errorCode"] == "BATCH_PROCESSING_HALTED"
    assert names(site) == ["A"]


def test_a_batch_has_its_limits(site):
    requests = [{"method": "GET", "url": "v66.0/limits"}]
    assert site.post("composite/batch", {"batchRequests": requests * 26}).json()[0]["errorCode"] == "LIMIT_EXCEEDED"
    assert site.post("composite/batch", {"batchRequests": [{}]}).json()[0]["errorCode"] == "JSON_PARSER_ERROR"


# -- trees


def leaf(kind, reference, **fields):
    return {"attributes": {"type": kind, "referenceId": reference}, **fields}


def test_a_tree_is_made_from_the_top(site):
    contact = leaf("Contact", "c", LastName="Ann", Notes={"records": [leaf("Note", "n", Title="t")]})
    tree = leaf("Account", "a", Name="A", Contacts={"records": [contact]})
    response = site.post("composite/tree/Account/", {"records": [tree, leaf("Account", "b", Name="B")]})
    assert response.status_code == 201
    made = {row["referenceId"]: row["id"] for row in response.json()["results"]}
    assert (response.json()["hasErrors"], list(made)) == (False, ["a", "c", "n", "b"])
    assert site.org.rows("Contact")[0]["AccountId"] == made["a"]
    assert site.org.rows("Note")[0]["ParentId"] == made["c"]


def test_a_tree_is_made_whole_or_not_at_all(site):
    tree = leaf("Account", "a", Name="A", Contacts={"records": [leaf("Contact", "c", foo=1)]})
    response = site.post("composite/tree/Account", {"records": [tree]})
    assert (response.status_code, response.json()) == (
        400,
        {"hasErrors": True, "results": [{"referenceId": "c", "errors": [
            {"statusCode": "INVALID_FIELD", "message": "No such column 'foo' on sobject of type Contact", "fields": []}]}]},
    )  # fmt: skip
    assert names(site) == []


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([5], "JSON_PARSER_ERROR"),
        ([{"attributes": {"type": "Account"}}], "JSON_PARSER_ERROR"),
        ([leaf("Contact", "a")], "INVALID_TYPE"),
        ([leaf("Account", "a"), leaf("Account", "a")], "INVALID_INPUT"),
        ([leaf("Account", "a", Contacts=5)], "JSON_PARSER_ERROR"),
        ([leaf("Account", f"{n}") for n in range(201)], "LIMIT_EXCEEDED"),
    ],
)
def test_a_broken_tree_is_refused(site, records, code):
    response = site.post("composite/tree/Account", {"records": records})
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, code)


# -- collections


def test_rows_are_deleted_by_ids(site):
    first, second, gone = site.org.load([{"object": "Account", "Name": name} for name in "ABC"])
    site.org.delete("Account", gone)
    ids = [first[:15], "001000000000009AAA", gone, "rubbish", first, second]
    results = site.delete(f"composite/sobjects?ids={','.join(ids)}").json()
    assert [result["success"] for result in results] == [True, False, False, False, False, True]
    assert results[0] == {"id": first, "success": True, "errors": []}
    codes = [result["errors"][0]["statusCode"] for result in results if not result["success"]]
    assert codes == ["INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED", "MALFORMED_ID", "DUPLICATE_VALUE"]
    assert names(site) == []
    assert site.delete("composite/sobjects").json()[0]["errorCode"] == "MISSING_ARGUMENT"
    assert (
        site.delete(f"composite/sobjects?ids={','.join([first] * 201)}").json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"
    )


def test_all_or_none_holds_for_deletes(site):
    [made] = site.org.load([{"object": "Account", "Name": "A"}])
    results = site.delete(f"composite/sobjects?ids={made},001000000000009AAA&allOrNone=true").json()
    assert results[0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert names(site) == ["A"]


def test_a_list_of_rows_is_read_in_the_order_asked_for(site):
    first, second = site.org.load([{"object": "Account", "Name": name} for name in "AB"])
    wanted = [second, "001000000000009AAA", "rubbish", first[:15], second]
    body = {"ids": wanted, "fields": ["name"]}
    for response in (
        site.post("composite/sobjects/account", body),
        site.get(f"composite/sobjects/Account?ids={','.join(wanted)}&fields=name"),
    ):
        rows = response.json()
        assert [row and row["Name"] for row in rows] == ["B", None, None, "A", "B"]
        assert rows[0].keys() == {"attributes", "Name", "Id"}
    assert site.post("composite/sobjects/Account", {"ids": [], "fields": []}).status_code == 400
    assert site.post("composite/sobjects/Account", {"ids": [5], "fields": ["Id"]}).status_code == 400
    many = site.post("composite/sobjects/Account", {"ids": [first] * 2001, "fields": ["Id"]})
    assert many.json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"


def test_a_row_stands_once_in_a_collection(site):
    [made] = site.org.load([{"object": "Account", "Name": "A"}])
    results = site.patch(
        "composite/sobjects", {"records": [{**KIND, "id": made, "Name": name} for name in "BC"]}
    ).json()
    assert (results[0]["success"], results[1]["errors"][0]["statusCode"]) == (True, "DUPLICATE_VALUE")
    contact = {"attributes": {"type": "Contact"}, "LastName": "x", "Email": "a@example.com"}
    results = site.patch(
        "composite/sobjects/Contact/Email", {"records": [contact, {**contact, "Email": "A@example.com"}]}
    ).json()
    assert results[1]["errors"][0]["message"] == "Duplicate external id specified: A@example.com"


def test_a_parent_may_be_named_by_an_external_id(site):
    [ann] = site.org.load([{"object": "Contact", "LastName": "Ann", "Email": "ann@example.com"}])
    given = {"LastName": "Bob", "ReportsTo": {"attributes": {"type": "Contact"}, "Email": "ANN@example.com"}}
    assert site.post("sobjects/Contact", given).status_code == 201
    assert site.org.rows("Contact")[1]["ReportsToId"] == ann
    for nested, code in (
        ({"Email": "none@example.com"}, "INVALID_FIELD"),
        ({"Email": "ann@example.com", "attributes": {"type": "Contact"}}, "JSON_PARSER_ERROR"),
        ({"attributes": {"type": "Account"}, "Name": "x"}, "INVALID_FIELD"),
        ({}, "INVALID_FIELD"),
    ):
        response = site.post("sobjects/Contact", {"LastName": "x", "ReportsTo": nested})
        assert response.json()[0]["errorCode"] == code
