from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import canon

NAIVE = datetime(2025, 3, 1, 12)  # noqa: DTZ001 - as a driver gives it
MOMENTS = st.integers(86_400, 315_537_811_200 - 86_400).map(
    lambda s: datetime(1, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
) | st.datetimes(timezones=st.just(UTC)).filter(lambda at: 1 < at.year < 9999)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "value",
    [
        "2025-03-01T12:00:00Z",
        "2025-03-01T12:00:00.000Z",
        "2025-03-01T12:00:00.000+0000",
        "2025-03-01T12:00:00+00:00",
        "2025-03-01T14:00+02",
        "2025-03-01T06:30:00-0530",
        "2025-03-01 12:00:00Z",
        datetime(2025, 3, 1, 12, tzinfo=UTC),
        datetime(2025, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_every_spelling_of_an_instant_becomes_one(value):
    assert canon.instant(value) == "2025-03-01T12:00:00Z"


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "",
            "x",
            5,
            True,
            date(2025, 3, 1),
            ["2025-03-01T12:00:00Z"],
            " 2025-03-01T12:00:00Z",
            "٢٠٢٥-03-01T12:00:00Z",
        ),
        *("2025-03-01", "20250301T120000Z", "2025-W10-1T12:00:00Z", "2025-02-30T12:00:00Z", "2025-13-01T12:00:00Z"),
        *("0000-01-01T00:00:00Z", "2025-03-01T24:00:00Z", "2025-03-01T12:60:00Z", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_what_is_no_instant_gives_none(value):
    assert canon.instant(value) is None
    assert canon.instant(value, assume_utc=True) is None


@pytest.mark.parametrize("value", ["2025-03-01T12:00:00", "2025-03-01 12:00:00", "2025-03-01 12:00", NAIVE])
def test_without_an_offset_it_is_an_instant_only_when_told(value):
    assert canon.instant(value) is None
    assert canon.instant(value, assume_utc=True) == "2025-03-01T12:00:00Z"


def test_a_fraction_stays_only_where_there_is_one():
    assert canon.instant("2025-03-01T12:00:00.500Z") == "2025-03-01T12:00:00.500Z"
    assert canon.instant("2025-03-01T12:00:00.5Z") == "2025-03-01T12:00:00.500Z"
    assert canon.instant("2025-03-01T12:00:00.123456+00:00") == "2025-03-01T12:00:00.123456Z"
    assert canon.instant("2024-02-29T12:00:00Z") == "2024-02-29T12:00:00Z"


@given(MOMENTS, OFFSETS)
def test_an_instant_is_the_same_in_every_offset(moment, offset):
    told = canon.instant(moment)
    assert told == canon.instant(moment.astimezone(offset).isoformat()) == canon.instant(told) == canon.text(moment)
    assert canon.parse(told) == moment
    assert canon.parse(told).tzinfo is UTC


def test_parse_says_what_would_be_right():
    with pytest.raises(ValueError, match="2025-03-01T12:00:00Z"):
        canon.parse("2025-03-01 12:00")


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2025-03-01", "2025-03-01"),
        (date(2025, 3, 1), "2025-03-01"),
        (datetime(2025, 3, 1, 23, tzinfo=timezone(timedelta(hours=-5))), "2025-03-02"),
        ("2025-03-01T23:00:00-05:00", "2025-03-02"),
        ("2025-02-30", None),
        ("20250301", None),
        ("soon", None),
        (None, None),
        (20250301, None),
    ],
)
def test_dates(value, day):
    assert canon.date(value) == day


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ("a02A00000000001", "a02A00000000001IAA"),
        ("a02A00000000001IAA", "a02A00000000001IAA"),
        ("a02A00000000001iaa", "a02A00000000001IAA"),
        ("00QB00000000001", "00QB00000000001MAA"),
        ("a02A00000000001ZZZ", "a02A00000000001ZZZ"),
        ("679bb68913684f5c4e2ca6db", "679bb68913684f5c4e2ca6db"),
        ("new1", "new1"),
        ("a02A0000000000é", "a02A0000000000é"),
        (7, 7),
        (None, None),
    ],
)
def test_ids(value, known):
    assert canon.id18(value) == known


@given(st.text("abcXYZ059", min_size=15, max_size=15))
def test_an_id_is_lengthened_once(value):
    long = canon.id18(value)
    assert len(long) == 18
    assert canon.id18(long) == canon.id18(long[:15] + long[15:].lower()) == long
    for at in (0, 5, 10):  # the checksum as Salesforce documents it
        bits = sum(1 << n for n in range(5) if value[at + n].isupper())
        assert long[15 + at // 5] == "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (" Alice@Club.example ", "alice@club.EXAMPLE"),
        ("Straße\t 1", "STRASSE 1"),
        ("Peak  Roofing", "peak roofing"),
        (5, "5"),
    ],
)
def test_fold_makes_equal(a, b):
    assert canon.fold(a) == canon.fold(b)


@given(st.text())
def test_fold_twice_is_fold_once(value):
    assert canon.fold(canon.fold(value)) == canon.fold(value)


def test_nothing_folds_to_nothing():
    assert canon.fold(None) is None
    assert canon.fold("  ") == ""


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (5, 5.0, True),
        (True, 1, False),
        (0, False, False),
        ([1, {"a": True}], [1.0, {"a": True}], True),
        ({"a": True}, {"a": 1}, False),
        ({"a": None}, {}, False),
        ([1], [1, 2], False),
        ("", None, False),
        ("2025-03-01T12:00:00Z", "2025-03-01T12:00:00.000Z", False),
        ("5", 5, False),
        ({}, [], False),
    ],
)
def test_same(a, b, equal):
    assert canon.same(a, b) is equal
    assert canon.same(b, a) is equal


@given(JSON)
def test_everything_is_the_same_as_itself(value):
    assert canon.same(value, value)
