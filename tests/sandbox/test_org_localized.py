"""What depends on the user: FORMAT() and the days that date literals stand for."""

from datetime import UTC, datetime

import pytest
from sandbox_site import site_of

# value, what FORMAT() makes of it for a user in Honolulu (ten hours behind) who reads en_US
LOCALIZED = [
    ("AnnualRevenue", 44000, "$44,000.00"),
    ("AnnualRevenue", -1234567.891, "-$1,234,567.89"),
    ("AnnualRevenue", None, None),
    ("NumberOfEmployees", 12345, "12,345"),
    ("CreatedDate", "2025-04-11T01:31:37Z", "4/10/2025, 3:31 PM"),
    ("CreatedDate", "2025-04-10T22:05:00Z", "4/10/2025, 12:05 PM"),
    ("CreatedDate", "2025-12-28T10:00:00Z", "12/28/2025, 12:00 AM"),
]


@pytest.fixture
def honolulu(new_org):
    user = {"username": "integration@sandbox.example", "time_zone": "Pacific/Honolulu"}
    with site_of(new_org(users=[user])) as made:
        yield made


def test_format_writes_as_the_user_reads(honolulu):
    for field, value, text in LOCALIZED:
        [made] = honolulu.org.load([{"object": "Account", "Name": "x", field: value}])
        query = f"SELECT {field}, FORMAT({field}) shown, Parent.Name FROM Account WHERE Id = '{made}'"
        assert honolulu.query(query).json()["records"][0]["shown"] == text
    filtered = honolulu.query("SELECT Id FROM Account WHERE FORMAT(AnnualRevenue) = '$1.00'")
    assert (filtered.status_code, filtered.json()[0]["errorCode"]) == (400, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("CreatedDate = TODAY", "today"),
        ("CreatedDate = YESTERDAY", "before"),
        ("CreatedDate > TODAY", "after"),
        ("CreatedDate <= LAST_N_DAYS:1", "before today"),
        ("CloseDate = TODAY", "today"),
        ("CloseDate < TODAY", "before"),
    ],
)
def test_a_date_literal_is_a_day_of_the_user(honolulu, condition, names):
    honolulu.org.set_clock(datetime(2025, 3, 12, 4, 0, tzinfo=UTC))  # six in the evening of the 11th there
    rows = {
        "before": ("2025-03-11T09:59:59Z", "2025-03-10"),
        "today": ("2025-03-11T10:00:00Z", "2025-03-11"),
        "after": ("2025-03-12T10:00:00Z", "2025-03-12"),
    }
    honolulu.org.load(
        {"object": "Opportunity", "Name": name, "CreatedDate": made, "CloseDate": closes}
        for name, (made, closes) in rows.items()
    )
    found = honolulu.query(f"SELECT Name FROM Opportunity WHERE {condition}").json()["records"]
    assert {row["Name"] for row in found} == set(names.split())
