"""A list that lookups go by, over HTTP: whatever it answers that is no whole list, the records wait, and only those."""

import pytest
from http_server import Answer, serving
from two_systems import Two, at

from connector import source
from connector.endpoints.http.adapter import Http

MAPPING = """
lookups:
  staff: {object: staff, key: email, compare: ignore_case, missing: empty}
objects:
  lead:
    direction: push
    read: {lead: {object: lead, watch: {first: all}}}
    triggers: [{changed: lead}]
    write: contact
    match: {by: link, found: update, missing: create}
    fields: {name: lead.name, owner_id: {lookup: staff, by: lead.staff_id}}
"""
API = """
api: theirs
about: Contacts with an owner.
objects:
  staff:
    list: {call: GET /staff, query: {after: "{cursor}"}, items: data, next: next, total: total}
  contact:
    list: {call: GET /contacts}
    create: {call: POST /contacts}
"""
HOME = [
    {"object": "staff", "id": "S1", "email": "Ann@example.com"},
    {"object": "lead", "id": "L1", "name": "Pat", "staff_id": "S1", "updated_at": at(-1)},
    {"object": "lead", "id": "L2", "name": "Kim", "staff_id": None, "updated_at": at(-1)},
]
OTHER = {"id": 1, "email": "bob@example.com"}
WHOLE = {"data": [OTHER, {"id": 7, "email": "ann@EXAMPLE.com"}, {"id": 7, "email": "ann@EXAMPLE.com"}], "total": 3}
NO_LIST = {
    "a page of HTML": Answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
    "nothing": Answer(b""),
    "an empty page before the end": {"data": [], "total": 2},
    "half of it": {"data": [OTHER], "total": 2},
    "another shape": {"staff": [OTHER], "total": 1},
    "a record without id": {"data": [{"email": "bob@example.com"}], "total": 1},
    "no end": {"data": [OTHER], "next": "again", "total": 1_000_000},
    "cut off": Answer(b'{"data": [', headers={"Content-Length": "100", "Connection": "close"}),
    "no answer": Answer(drop=True),
    "down": Answer(b"", 503),
    "gone": Answer(b"", 404),
    "not allowed": Answer(b"", 403),
}


@pytest.mark.parametrize("name", NO_LIST)
def test_no_list_is_never_no_match(name):
    given, made = [NO_LIST[name]], []

    def answer(asked):
        if asked.steps == ["staff"]:
            return given[0]
        if asked.method == "POST":
            made.append(asked.body)
            return {"id": len(made)}
        return []

    with serving(answer) as (url, _):
        two = Two(MAPPING, HOME)
        api = source.parse(API, "theirs.yaml").tree
        theirs = two.runner.endpoints["theirs"] = Http("theirs", {"url": url, "api": api}, clock=two.clock)
        two.run()
        assert two.outcomes == [("L1", "failed", "source_unavailable"), ("L2", "created", None)]
        assert [one["name"] for one in made] == ["Kim"]
        given[0] = WHOLE
        two.run(after=60)
        assert two.outcomes == [("L1", "created", None)]
        assert made[1:] == [{"name": "Pat", "owner_id": "7"}]
        theirs.close()
