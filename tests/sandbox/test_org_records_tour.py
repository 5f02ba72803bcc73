"""jsforce drives rows, queries, collections, composite, bulk and files, and finds nothing that is not as in Salesforce."""

from jsforce_tours import tour
from sandbox_site import SHAPES, site_of

from connector.sandbox import Org


def test_jsforce_reads_and_writes_in_every_way_it_knows():
    with site_of(Org(SHAPES, page_size=2)) as site:
        steps = tour("records", url=site.url, version="66.0", accessToken=site.sign_in())
    malformed = steps.pop("malformed")
    assert (malformed["error"], "unexpected token: '<EOF>'" in malformed["message"]) == ("MALFORMED_QUERY", True)
    rows = steps.pop("bulk query")
    assert [row["Name"] for row in rows] == ["Bulk 1", 'Bulk, "2"']
    assert all(row["CreatedDate"].endswith(".000Z") for row in rows)
    assert steps == {
        "create": {"success": True, "errors": []},
        "retrieve": 5,
        "update": True,
        "an unknown field": {
            "error": "INVALID_FIELD",
            "message": "No such column 'Nope__c' on sobject of type Account",
        },
        "create many": [True, True, False],
        "all or none": ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_FIELD"],
        "upsert": [True, False, True],
        "upsert many": [False, True],
        "query": [1, True, "Acme Inc", ["Ann", "Bob"]],
        "query more": [2, False, 1, True],
        "fetch everything": ["A", "Acme Inc", "B"],
        "find": ["Ann"],
        "count": 2,
        "aggregate": {"attributes": {"type": "AggregateResult"}, "n": 3, "expr0": "B"},
        "many by id": [2, [True, True]],
        "composite": [201, 200],
        "tree": [False, 2],
        "bulk ingest": [[["true", "Bulk 1"], ["true", 'Bulk, "2"']], [], []],
        "bulk upsert": ["false", "true"],
        "bulk query refused": {"error": "API_ERROR", "message": "Aggregate Relationships not supported in Bulk Query"},
        "file": ["hello", 1],
        "deleted": [[True], True],
        "a deleted row": {"error": "NOT_FOUND", "message": "The requested resource does not exist"},
        "delete many": [True, True, False],
        "query all": ["Gone"],
    }
