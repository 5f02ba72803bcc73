"""Faults by kind, place and chance, and what a wire does to an answer."""

import time
from datetime import timedelta

import httpx
import pytest
from sandbox_site import NOW

from connector.sandbox import fixtures, furnished

V = "/services/data/v66.0"
ACCOUNTS = "SELECT Id FROM Account"


def statuses(site, count, soql=ACCOUNTS):
    return [site.query(soql).status_code for _ in range(count)]


NAMED = [
    ("query_timeout", 400, "QUERY_TIMEOUT", "Your query request was running for too long."),
    ("lock_row", 400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
    ("total_requests", 403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    ("concurrent_requests", 403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "code", "message"), NAMED)
def test_a_fault_may_be_asked_for_by_name(site, name, status, code, message):
    site.org.fault("Account", status=name)
    response = site.query(ACCOUNTS)
    fields = {"fields": []} if name == "lock_row" else {}
    assert (response.status_code, response.json()) == (status, [{"message": message, "errorCode": code, **fields}])


@pytest.mark.parametrize("status", [414, 420])
def test_some_answers_are_pages(site, status):
    site.org.fault(status=status)
    response = site.query(ACCOUNTS)
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.startswith("<h")


def test_any_status_may_come_with_a_page(site):
    site.org.fault(status=503, body="<html>Down for maintenance</html>")
    response = site.query(ACCOUNTS)
    assert (response.status_code, response.text) == (503, "<html>Down for maintenance</html>")
    assert response.headers["Content-Type"] == "text/html;charset=UTF-8"


def test_a_fault_strikes_from_the_nth_request_on(site):
    site.org.fault("Account", nth=3, times=2)
    assert statuses(site, 6) == [200, 200, 503, 503, 200, 200]


def test_a_fault_strikes_by_path(site):
    site.org.fault(path="*/sobjects/Account/describe", times=None)
    assert statuses(site, 1) == [200]
    assert site.get("sobjects/Account/describe").status_code == 503
    site.org.fault(path="/services/oauth2/token", status=500)
    assert statuses(site, 1) == [200]
    tokens = [site.http.post("/services/oauth2/token", data={"grant_type": "client_credentials"}, auth=("sandbox", "sandbox")) for _ in range(2)]  # fmt: skip
    assert [made.status_code for made in tokens] == [500, 200]


def test_chance_is_the_same_every_time(site, new_org):
    site.org.fault("Account", rate=0.5, seed=7, times=None)
    first = statuses(site, 40)
    assert 5 < first.count(503) < 35
    site.org.faults.waiting.clear()
    site.org.fault("Account", rate=0.5, seed=7, times=None)
    assert statuses(site, 40) == first


def test_a_locked_row_is_told_of_the_row(site):
    site.org.fault("Account", verb="write", status="lock_row", nth=2)
    records = [{"attributes": {"type": "Account"}, "Name": name} for name in "ABC"]
    results = site.post("composite/sobjects", {"records": records}).json()
    assert [result["success"] for result in results] == [True, False, True]
    assert results[1]["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW"
    site.org.fault("Account", verb="write", status="lock_row")
    assert site.post("sobjects/Account", {"Name": "D"}).json()[0]["fields"] == []


# -- the wire


@pytest.mark.parametrize("status", ["truncated", "truncated_chunks"])
def test_an_answer_may_break_off(site, status):
    site.org.load([{"object": "Account", "Name": "x" * 200}] * 100)
    site.org.fault("Account", verb="read", status=status)
    with pytest.raises(httpx.RemoteProtocolError):
        site.query("SELECT Name FROM Account", Accept_Encoding="identity")
    assert statuses(site, 1) == [200]
    site.org.fault("Account", verb="write", status=status)
    with pytest.raises(httpx.RemoteProtocolError):
        site.post("sobjects/Account", {"Name": "applied"})
    assert site.query("SELECT COUNT() FROM Account WHERE Name = 'applied'").json()["totalSize"] == 1


def test_half_of_the_answer_has_come(site):
    site.org.load([{"object": "Account", "Name": "x"}] * 10)
    site.org.fault("Account", status="truncated")
    with pytest.raises(httpx.RemoteProtocolError, match=r"received 645 bytes, expected 1290"):
        site.query(ACCOUNTS, Accept_Encoding="identity")


def test_an_answer_may_trickle(site):
    site.org.load([{"object": "Account", "Name": "x"}] * 10)
    site.org.fault("Account", status="trickled", seconds=0.4)
    began = time.monotonic()
    assert site.query(ACCOUNTS).json()["totalSize"] == 10
    assert time.monotonic() - began >= 0.35


def test_a_fault_comes_from_a_file_too(tmp_path, new_org):
    path = tmp_path / "rows.yaml"
    path.write_text(
        "faults:\n  - {object: Account, status: late, verb: write, seconds: 30, nth: 2, rate: 0.5, seed: 3}\n"
    )
    org = furnished.org(fixtures.shapes(fixtures.recorded_shapes()), fixtures.read(path))
    [fault] = org.faults.waiting
    assert (fault.object, fault.status, fault.seconds, fault.nth, fault.rate, fault.seed) == (
        "Account", "late", 30, 2, 0.5, 3)  # fmt: skip
    org.close()


@pytest.mark.parametrize(
    "given",
    [{"status": "late_commit"}, {"status": 200}, {"verb": "all"}, {"nth": 0}, {"nth": "x"}, {"rate": 0}, {"rate": 2},
     {"rate": "often"}, {"seconds": -1}, {"seconds": 10**6}, {"times": "x"}],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_named(site, given):
    with pytest.raises(ValueError):
        site.org.fault(**given)
    assert httpx.post(f"{site.url}/sandbox/fault", json=given).status_code == 400


def test_a_late_composite_is_seen_as_a_whole(site):
    site.org.fault(path="*/composite", status="late", seconds=60)
    listed = [
        {"method": "POST", "url": f"{V}/sobjects/Account", "body": {"Name": name}, "referenceId": f"r{name}"} for name in "AB"
    ]  # fmt: skip
    assert site.post("composite", {"compositeRequest": listed}).status_code == 200
    assert site.org.rows("Account") == []
    site.org.set_clock(NOW + timedelta(seconds=60))
    assert [row["Name"] for row in site.org.rows("Account")] == ["A", "B"]
