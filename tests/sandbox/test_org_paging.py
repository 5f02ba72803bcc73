"""Pages, locators and sessions."""

import pytest

ALL = "SELECT Name FROM i360__Staff__c ORDER BY Name"


def staff(org, count, start=0):
    return org.load([{"object": "i360__Staff__c", "Name": f"s{number:05}"} for number in range(start, start + count)])


def follow(site, first):
    pages = [first]
    while not pages[-1]["done"]:
        pages.append(site.http.get(pages[-1]["nextRecordsUrl"]).json())
    return pages


def names(pages):
    return [row["Name"] for page in pages for row in page["records"]]


def test_pages_follow_one_another_to_the_end(site_with):
    with site_with(page_size=2) as site:
        staff(site.org, 5)
        pages = follow(site, site.query(ALL).json())
        assert [len(page["records"]) for page in pages] == [2, 2, 1]
        assert {page["totalSize"] for page in pages} == {5}
        assert names(pages) == [f"s{number:05}" for number in range(5)]
        assert "nextRecordsUrl" not in pages[-1]


def test_a_locator_looks_like_one_of_salesforce(site_with):
    with site_with(page_size=2) as site:
        staff(site.org, 3)
        url = site.query(ALL).json()["nextRecordsUrl"]
        base, locator = url.rsplit("/", 1)
        assert base == "/services/data/v66.0/query"
        assert (locator[:3], len(locator), locator[18:]) == ("0r8", 20, "-2")


def test_rows_that_come_and_go_do_not_move_the_pages(site_with):
    with site_with(page_size=2) as site:
        ids = staff(site.org, 4)
        first = site.query(ALL).json()
        site.org.delete("i360__Staff__c", ids[0])
        site.org.load([{"object": "i360__Staff__c", "Name": "a"}])
        assert names(follow(site, first)) == ["s00000", "s00001", "s00002", "s00003"]


def test_the_client_asks_for_smaller_pages_within_limits(site_with):
    with site_with() as site:
        staff(site.org, 2001)
        sizes = {
            header: len(site.query(ALL, Sforce_Query_Options=header).json()["records"])
            for header in ("batchSize=250", "batchSize=1", "batchSize=9999", "rubbish")
        }
        assert sizes == {"batchSize=250": 250, "batchSize=1": 200, "batchSize=9999": 2000, "rubbish": 2000}


def test_limit_caps_the_total(site_with):
    with site_with(page_size=2) as site:
        staff(site.org, 5)
        assert [page["totalSize"] for page in follow(site, site.query(f"{ALL} LIMIT 3").json())] == [3, 3]


def test_a_locator_works_under_both_names_and_ignores_a_repeated_query(site_with):
    with site_with(page_size=2) as site:
        staff(site.org, 3)
        url = site.query(ALL, resource="queryAll").json()["nextRecordsUrl"]
        for path in (url, url.replace("/query/", "/queryAll/"), f"{url}?q=SELECT+Nonsense", f"{url}/"):
            assert names([site.http.get(path).json()]) == ["s00002"]


@pytest.mark.parametrize(
    "change", [lambda url: f"{url}0000", lambda url: url.replace("-2", "-0"), lambda url: url.replace("-2", "")]
)
def test_a_bent_locator_is_refused(site_with, change):
    with site_with(page_size=2) as site:
        staff(site.org, 3)
        response = site.http.get(change(site.query(ALL).json()["nextRecordsUrl"]))
        assert (response.status_code, response.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_a_new_session_cannot_follow_a_dead_one(site_with):
    with site_with(page_size=2) as site:
        staff(site.org, 3)
        url = site.query(ALL).json()["nextRecordsUrl"]
        site.sign_in()
        assert site.http.get(url).json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"
        site.org.revoke_tokens()
        site.sign_in()
        assert site.http.get(url).json()[0]["errorCode"] == "INVALID_SESSION_ID"


def test_many_children_get_a_locator_of_their_own(site_with):
    with site_with(page_size=2) as site:
        org = site.org
        org.load([{"object": "i360__Project__c", "Id": f"a0300000000000{n}AAA"} for n in (1, 2)])
        for project, count in ((1, 5), (2, 2)):
            link = {"object": "i360__Production_Activity__c", "i360__Project__c": f"a0300000000000{project}AAA"}
            org.load([{**link, "Name": f"p{number}"} for number in range(count)])
        soql = "SELECT Id, (SELECT Name FROM i360__Production_Activities__r WHERE Name != 'p0' ORDER BY Name DESC) FROM i360__Project__c"
        pages = follow(site, site.query(soql).json())
        assert len(pages) == 2  # children count towards a page
        many, few = (row["i360__Production_Activities__r"] for page in pages for row in page["records"])
        assert (few["totalSize"], few["done"]) == (1, True)
        assert (many["totalSize"], many["done"]) == (4, False)
        assert names(follow(site, many)) == ["p4", "p3", "p2", "p1"]


def test_query_all_shows_what_was_deleted(site):
    [kept, gone] = staff(site.org, 2)
    site.org.delete("i360__Staff__c", gone)
    soql = "SELECT Id, IsDeleted FROM i360__Staff__c"
    assert [row["Id"] for row in site.query(soql).json()["records"]] == [kept]
    rows = site.query(soql, resource="queryAll").json()["records"]
    assert [(row["Id"], row["IsDeleted"]) for row in rows] == [(kept, False), (gone, True)]


def test_two_long_texts_of_ones_own_make_the_pages_small(new_org):
    from sandbox_site import SHAPES, site_of

    from connector.sandbox import Org

    long = {"type": "textarea", "length": 32768, "createable": True}
    flags = {"filterable": True, "sortable": True}
    fields = [{"name": "Id", "type": "id", **flags}, {"name": "A__c", **long}, {"name": "B__c", **long}]
    shape = {"name": "Long__c", "keyPrefix": "a0L", "fields": fields}
    with site_of(Org([*SHAPES, shape])) as site:
        site.org.load([{"object": "Long__c"}] * 201)
        sizes = [
            len(site.query(f"SELECT {wanted} FROM Long__c").json()["records"]) for wanted in ("A__c", "A__c, B__c")
        ]
        assert sizes == [201, 200]
