"""Limits, counts, what was used last, the variants of Sforce-Limit-Info, conditions on rows."""

from datetime import timedelta

import pytest
from sandbox_site import NOW

ACCOUNT = "001000000000001AAA"


def test_limits_are_pairs_of_max_and_remaining(site_with):
    with site_with(api_limit=100) as site:
        site.query("SELECT Id FROM Account")
        found = site.get("limits").json()
        assert found["DailyApiRequests"] == {"Max": 100, "Remaining": 98}  # this call counts as well
        assert found["DailyBulkV2QueryJobs"]["Max"] == 10_000
        assert {frozenset(each) for each in found.values()} == {frozenset({"Max", "Remaining"})}
        assert list(found) == sorted(found)


def test_counts_leave_out_empty_and_unknown_objects(site):
    [made] = site.org.load([{"object": "Account", "Name": "gone"}])
    site.org.delete("Account", made)
    site.org.load([{"object": "Account", "Name": name} for name in "ab"])
    found = site.get("limits/recordCount", params={"sObjects": "User,account,Contact,Nope,Account"}).json()
    assert found == {"sObjects": [{"count": 2, "name": "Account"}, {"count": 1, "name": "User"}]}
    assert {entry["name"] for entry in site.get("limits/recordCount").json()["sObjects"]} == {"Account", "User"}
    assert site.get("limits/recordCount?sObjects=").json() == {"sObjects": []}


def usage(response):
    return response.headers["Sforce-Limit-Info"]


def test_a_client_with_a_limit_of_its_own_and_bursts_are_told_behind(site_with):
    clients = {"sandbox": {"secret": "sandbox", "name": "My app", "daily_limit": 250}}
    with site_with(clients=clients, api_bursts=750) as site:
        site.org.clock = lambda: NOW - timedelta(seconds=60)
        site.query("SELECT Id FROM Account")
        site.org.clock = lambda: NOW
        response = site.query("SELECT Id FROM Account")
        assert usage(response) == "api-usage=2/15000; per-app-api-usage=2/250(appName=My app); api-bursts=1/750"
        site.org.set_clock(NOW + timedelta(hours=25))
        site.sign_in()
        assert usage(site.query("SELECT Id FROM Account")).startswith("api-usage=1/15000; per-app-api-usage=1/250")


def test_plain_it_is_the_daily_use_alone(site):
    assert usage(site.query("SELECT Id FROM Account")) == "api-usage=1/15000"


# -- recent items


def test_what_a_user_wrote_last_is_recent(site_with):
    ann = {"username": "ann@example.com", "password": "secret"}
    with site_with(users=[ann]) as site:
        made = site.post("sobjects/Account", {"Name": "Acme"}).json()["id"]
        site.org.set_clock(NOW + timedelta(seconds=1))
        case = site.post("sobjects/Case", {"Subject": "Help"}).json()["id"]
        items = site.get("recent?limit=2").json()
        assert [item["Id"] for item in items] == [case, made]
        assert items[1] == {
            "attributes": {"type": "Account", "url": f"/services/data/v66.0/sobjects/Account/{made}"},
            "Id": made,
            "Name": "Acme",
        }
        summary = site.get("sobjects/Account").json()
        assert [item["Id"] for item in summary["recentItems"]] == [made]
        assert summary["objectDescribe"]["urls"]["sobject"] == "/services/data/v66.0/sobjects/Account"
        site.delete(f"sobjects/Account/{made}")
        assert site.get("sobjects/Account").json()["recentItems"] == []
        form = {"grant_type": "password", "client_id": "sandbox", "client_secret": "sandbox", **ann}
        token = site.bare.post(f"{site.url}/services/oauth2/token", data=form).json()["access_token"]
        site.http.headers["Authorization"] = f"Bearer {token}"
        assert site.get("sobjects/Case").json()["recentItems"] == []


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "9" * 5000, "\u0661"])
def test_a_limit_of_recent_items_is_a_number(site, limit):
    assert site.get("recent", params={"limit": limit}).status_code == 400


# -- conditions on rows


@pytest.fixture
def row(site):
    site.org.load([{"object": "Account", "Id": ACCOUNT, "Name": "Acme"}])
    return site.get(f"sobjects/Account/{ACCOUNT}")


def ask(site, method, **headers):
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    body = {"Phone": "1"} if method == "PATCH" else None
    return site.http.request(method, f"/services/data/v66.0/sobjects/Account/{ACCOUNT}", json=body, headers=named)


def test_a_row_of_account_has_a_tag(site, row):
    tag = row.headers["ETag"]
    assert ask(site, "GET", If_None_Match=tag).status_code == 304
    assert ask(site, "GET", If_None_Match=f'"x", W/{tag}').status_code == 304
    assert ask(site, "GET", If_None_Match='"x"', If_Modified_Since=row.headers["Last-Modified"]).status_code == 200
    assert ask(site, "GET", If_Match=tag).status_code == 200
    assert ask(site, "GET", If_Match='"x"').status_code == 412
    [contact] = site.org.load([{"object": "Contact", "LastName": "x"}])
    assert "ETag" not in site.get(f"sobjects/Contact/{contact}").headers


def test_a_gzipped_answer_says_so_in_its_tag(site):
    zipped = site.get("sobjects/Account/describe").headers["ETag"]
    assert zipped.endswith('--gzip"')
    assert site.get("sobjects/Account/describe", headers={"If-None-Match": zipped}).status_code == 304


def test_a_row_that_changed_meanwhile_is_not_written_over(site, row):
    tag = row.headers["ETag"]
    assert ask(site, "PATCH", If_Match=tag).status_code == 204
    response = ask(site, "PATCH", If_Match=tag)
    assert (response.status_code, response.json()[0]["errorCode"]) == (412, "PRECONDITION_FAILED")
    assert ask(site, "DELETE", If_Match=tag).status_code == 412
    assert ask(site, "PATCH", If_None_Match=ask(site, "GET").headers["ETag"]).status_code == 412
    assert ask(site, "DELETE", If_Match="*").status_code == 204


def test_if_unmodified_since_is_for_changes_only(site, row):
    before, now = "Wed, 12 Mar 2025 11:59:59 GMT", row.headers["Last-Modified"]
    assert ask(site, "PATCH", If_Unmodified_Since=now).status_code == 204
    assert ask(site, "PATCH", If_Unmodified_Since=before).status_code == 412
    assert ask(site, "PATCH", If_Unmodified_Since="rubbish").status_code == 400
    assert ask(site, "DELETE", If_Unmodified_Since=before).status_code == 204
