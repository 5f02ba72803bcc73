"""The bill, the clock, faults that were asked for, and the control channel that another process uses."""

import gc
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import httpx
import pytest
from sandbox_site import NOW

from connector.sandbox import control, serve

V = "/services/data/v66.0"
ACCOUNTS = "SELECT Id FROM Account"

# -- the bill


def test_calls_are_counted_as_salesforce_bills_them(site):
    assert site.query(ACCOUNTS).headers["Sforce-Limit-Info"] == "api-usage=1/15000"
    site.get("nonsense")
    site.http.get("/services/data")
    site.sign_in()
    assert site.query("SELECT").headers["Sforce-Limit-Info"] == "api-usage=3/15000"
    assert site.org.billed == 3
    assert site.org.calls[1:] == [
        ("GET", f"{V}/query", True),
        ("GET", f"{V}/nonsense", True),
        ("GET", "/services/data", False),
        ("POST", "/services/oauth2/token", False),
        ("GET", f"{V}/query", True),
    ]
    assert site.org.queries == [ACCOUNTS, "SELECT"]


def test_a_refused_session_costs_nothing(site):
    site.org.revoke_tokens()
    response = site.query(ACCOUNTS)
    assert (response.status_code, "Sforce-Limit-Info" in response.headers, site.org.billed) == (401, False, 0)


def test_the_limit_is_a_rolling_day(site_with):
    with site_with(api_limit=2, token_seconds=10**6) as site:
        statuses = [site.query(ACCOUNTS).status_code for _ in range(3)]
        assert statuses == [200, 200, 403]
        response = site.query(ACCOUNTS)
        assert response.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
        assert response.headers["Sforce-Limit-Info"] == "api-usage=2/2"
        site.org.set_clock(NOW + timedelta(hours=24))
        assert site.query(ACCOUNTS).headers["Sforce-Limit-Info"] == "api-usage=1/2"


# -- the clock


def test_every_answer_has_the_date_of_the_org(site):
    site.org.set_clock(NOW + timedelta(days=400, milliseconds=900))
    for response in (site.http.get("/services/data"), site.query(ACCOUNTS), site.http.get("/nowhere")):
        assert response.headers["Date"] == "Thu, 16 Apr 2026 12:00:00 GMT"


def test_without_a_clock_the_org_keeps_real_time(new_org):
    org = new_org(clock=None)
    assert org.now() > NOW
    org.set_clock(NOW)
    assert org.now() == NOW
    org.set_clock(None)
    assert org.now() > NOW
    org.close()


# -- faults

BODIES = [
    (401, "INVALID_SESSION_ID"),
    (403, "REQUEST_LIMIT_EXCEEDED"),
    (404, "NOT_FOUND"),
    (429, "REQUEST_LIMIT_EXCEEDED"),
    (500, "UNKNOWN_EXCEPTION"),
    (503, "SERVER_UNAVAILABLE"),
]


@pytest.mark.parametrize(("status", "code"), BODIES)
def test_a_fault_answers_once_and_is_gone(site, status, code):
    site.org.fault("Account", status=status)
    response = site.query(ACCOUNTS)
    assert (response.status_code, response.json()[0]["errorCode"]) == (status, code)
    assert site.query(ACCOUNTS).status_code == 200


def test_some_faults_have_no_json(site):
    for status, text in ((406, ""), (414, "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>")):
        site.org.fault(status=status)
        response = site.query(ACCOUNTS)
        assert (response.status_code, response.text) == (status, text)


def test_a_fault_hits_its_object_and_verb_only(site):
    site.org.fault("Account", verb="write", times=None)
    assert site.query(ACCOUNTS).status_code == 200
    assert site.post("sobjects/Contact", {"LastName": "x"}).status_code == 201
    for _ in range(3):
        assert site.post("sobjects/Account", {"Name": "x"}).status_code == 503
    records = [{"attributes": {"type": "account"}, "Name": "x"}]
    assert site.post("composite/sobjects", {"records": records}).status_code == 503


@pytest.mark.parametrize(
    "path",
    ["sobjects/Account/describe", "sobjects/account", "sobjects/Account/001000000000001AAA", f"query?q={ACCOUNTS}",
     "query?q=SELECT Id, (SELECT Id FROM ChildAccounts) FROM Account", f"queryAll?q={ACCOUNTS}"],
)  # fmt: skip
def test_a_fault_hits_every_way_to_read_the_object(site, path):
    site.org.fault("Account")
    assert site.get(path).status_code == 503


def test_a_fault_hits_a_locator_and_a_sub_select(site_with):
    with site_with(page_size=1) as site:
        site.org.load([{"object": "Account", "Name": "x"}] * 2)
        url = site.query(ACCOUNTS).json()["nextRecordsUrl"]
        site.org.fault("Account")
        assert [site.http.get(url).status_code for _ in range(2)] == [503, 200]
        site.org.fault("Contact")
        assert site.query("SELECT Id, (SELECT Id FROM Contacts) FROM Account").status_code == 503


def test_inside_a_composite_the_subrequest_carries_the_fault(site):
    site.org.fault("Account", status=500)
    results = site.composite(
        *[{"url": f"{V}/query?q=SELECT Id FROM {name}"} for name in ("Contact", "Account", "Lead")]
    )
    assert [result["httpStatusCode"] for result in results] == [200, 500, 200]


def test_a_fault_without_an_object_hits_the_composite_as_a_whole(site):
    request = {"method": "GET", "url": f"{V}/query?q={ACCOUNTS}", "referenceId": "r"}
    site.org.fault(verb="read")
    assert site.post("composite", {"compositeRequest": [request]}).status_code == 503
    assert site.post("composite", {"compositeRequest": [request]}).status_code == 200


def test_a_fault_may_have_words_of_its_own(site):
    site.org.fault("Account", status=400, code="QUERY_TIMEOUT", message="Your query request was running for too long.")
    response = site.query(ACCOUNTS)
    assert response.json() == [
        {"message": "Your query request was running for too long.", "errorCode": "QUERY_TIMEOUT"}
    ]


@pytest.mark.parametrize(("status", "kept"), [("lost_reply", ["x"]), ("timeout", [])])
def test_a_dropped_connection_leaves_the_write_applied_or_not(site, status, kept):
    site.org.fault("Account", status=status)
    with pytest.raises(httpx.RemoteProtocolError):
        site.post("sobjects/Account", {"Name": "x"})
    assert [row["Name"] for row in site.org.rows("Account")] == kept
    assert site.post("sobjects/Account", {"Name": "y"}).status_code == 201


@pytest.mark.parametrize(("status", "kept"), [("lost_reply", ["A", "B"]), ("timeout", [])])
def test_a_dropped_composite_is_applied_whole_or_not_at_all(site, status, kept):
    site.org.fault("Contact", status=status)
    urls = [("Account", {"Name": "A"}), ("Contact", {"LastName": "C"}), ("Account", {"Name": "B"})]
    listed = [
        {"method": "POST", "url": f"{V}/sobjects/{name}", "body": body, "referenceId": f"r{place}"}
        for place, (name, body) in enumerate(urls)
    ]
    with pytest.raises(httpx.RemoteProtocolError):
        site.post("composite", {"compositeRequest": listed})
    assert [row["Name"] for row in site.org.rows("Account")] == kept


# -- the control channel


def test_another_process_does_the_same_over_http(site):
    def post(word, **body):
        return site.bare.post(f"{site.url}/sandbox/{word}", json=body)

    made = post("load", rows=[{"object": "Account", "Name": "x"}]).json()["ids"][0]
    post("clock", now="2025-03-12T13:00:00+00:00")
    post("edit", object="Account", id=made, fields={"Name": "y"})
    [row] = site.bare.get(f"{site.url}/sandbox/rows/Account").json()["rows"]
    assert (row["Name"], row["SystemModstamp"]) == ("y", "2025-03-12T13:00:00.000+0000")
    post("delete", object="Account", id=made)
    assert site.org.rows("Account") == []
    post("fault", object="Account", verb="read", status=500, times=1)
    post("rules", object="Account", rules=["required"])
    assert site.query(ACCOUNTS).status_code == 500
    calls = site.bare.get(f"{site.url}/sandbox/calls").json()
    assert calls == {"calls": [["POST", "/services/oauth2/token", False], ["GET", f"{V}/query", True]], "billed": 1,
                     "queries": []}  # fmt: skip
    post("revoke")
    assert site.query(ACCOUNTS).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "load", b"{}", 400, "rows"),
        ("POST", "load", b"[]", 400, "object"),
        ("POST", "load", b"{", 400, "Expecting"),
        ("POST", "load", b'{"rows": [{"object": "Nope"}]}', 400, "Nope"),
        ("POST", "fault", b'{"colour": 1}', 400, "colour"),
        ("POST", "clock", b'{"now": "soon"}', 400, "soon"),
        ("GET", "rows/Nope", b"", 400, "Nope"),
        ("GET", "nothing", b"", 404, "POST /sandbox/load"),
    ],
)
def test_a_mistake_on_the_control_channel_is_named(site, method, path, body, status, says):
    response = site.bare.request(method, f"{site.url}/sandbox/{path}", content=body)
    assert response.status_code == status
    assert says in response.json()["error"]


def test_the_control_channel_answers_this_machine_only(site):
    from connector.sandbox.calls import Request

    request = Request("GET", "/sandbox/calls", "", {}, b"", site.url)
    assert control.answer(site.org, request, "127.0.0.1").status == 200
    for client in ("10.0.0.7", None, "testclient"):
        assert control.answer(site.org, request, client).status == 403
    assert site.bare.get(f"{site.url}/sandbox/calls", headers={"Origin": "https://evil.example"}).status_code == 403


# -- many at once


def test_many_clients_at_once_lose_and_double_nothing(site_with):
    def work(number):
        made = [site.post("sobjects/Account", {"Name": f"{number}"}).json()["id"] for _ in range(10)]
        page = site.query(ACCOUNTS).json()
        assert len(page["records"]) == min(page["totalSize"], 50)
        return made

    with site_with(page_size=50) as site, ThreadPoolExecutor(8) as pool:
        ids = [made for found in pool.map(work, range(8)) for made in found]
        assert len(set(ids)) == 80
        assert {row["Id"] for row in site.org.rows("Account")} == set(ids)
        assert site.org.billed == len(site.org.calls) - 1 == 88


def test_who_comes_while_the_org_stops_leaves_nothing_open(new_org):
    """A socket that nobody has closed warns when it is collected, and a warning fails a test."""
    with closing(new_org()) as org:
        for _ in range(20):
            with serve(org) as url:
                host, _, port = url.removeprefix("http://").partition(":")
                socket.create_connection((host, int(port))).close()
    gc.collect()
