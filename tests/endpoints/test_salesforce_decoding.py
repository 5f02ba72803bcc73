"""Pages are decoded by types made of their query: the rows are those of the standard parser, whatever the page holds."""

import json
import re
from collections.abc import Mapping

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_salesforce import ACTIVITY, EMAIL, PROJECT, PROSPECT, SHAPES, ask, scripted

from connector.endpoints.salesforce import reading
from connector.endpoints.salesforce.decoding import decoder
from connector.errors import EndpointError
from connector.model import Query, Where

BELOW, PARENT = "i360__Production_Activities__r", "i360__Prospect__r"
QUERY = Query(
    PROJECT,
    ("Name", "i360__Completed_On__c", f"{PARENT}.Id", f"{PARENT}.{EMAIL}", f"{PARENT}.CreatedBy.Name"),
    children={BELOW: Query(ACTIVITY, ("Id", "Name", "CreatedDate"), stamped=False)},
)


# ---- pages as texts: what JSON can say, and what no org should ----------------------------------------------

STAMPS = ("2026-03-02T08:59:00.000+0000", "2026-03-02T08:59:00.120+0000", "2026-02-30T08:59:00.000+0000", "2026-03-02")
IDS = ("a01Sb0000000001IAA", "a01Sb0000000001", "a01sb0000000001iaa", "no id")
NUMBERS = (
    *("0", "-0", "-0.0", "1", "1.0", "1e2", "1E+2", "12.50", "0.1", "2.5e-9", "1e-400", "9007199254740993"),
    *("9007199254740993.0", "18446744073709551616", "-9223372036854775809", "9" * 30),
)
ESCAPES = (r'"\ud83d\ude00"', r'"\/\b\u0041\""', '"\x7f\u2028"', r'"2026-03-02T08:59:00.000\u002b0000"')
BAD = (
    *(
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "[1, {}]",
        '{"Id": 1}',
        "[]",
        "{}",
        "1",
    ),
    *(r'"\ud800"', r'"\udc00x"', r'"\x"', '"\t"', '"', "[" * 2_000, '"\ud800"', "", '""'),
)
"""In place of a value: some are no JSON, some are JSON that the types refuse, some are fine in most places."""
SPOILS = ("", '"', "{", "}", "[", "]", ",", ":", "0", "\\", "null", " ", "é", "\0", "\ud800")
TEXTS = st.one_of(
    st.sampled_from((*IDS, *STAMPS)).map(json.dumps),
    st.text(max_size=5).map(json.dumps),
    st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(ESCAPES),
).map("<\0{}\0>".format)
VALUES = st.one_of(
    st.sampled_from(("null", "true", "false", "[]", '{"a": [0, {}]}', *NUMBERS)).map("<\0{}\0>".format), TEXTS
)
"""Each stands between marks, so that a bad one can take its place."""
MARKED = re.compile("<\0(.*?)\0>")


@st.composite
def objects(draw, *needed, **members):
    """Members in any order, those not `needed` perhaps missing, any of them perhaps twice, or its name in escapes."""
    some = draw(st.lists(st.sampled_from(sorted(members)), max_size=len(members)))
    made = []
    for name in draw(st.permutations([*needed, *some])):
        written = draw(st.sampled_from((name, name, name, f"\\u{ord(name[0]):04x}{name[1:]}")))
        made.append(f'"{written}" :{draw(members[name])}')
    return f"{{{', '.join(made)}}}"


def page_of(rows, total=None, place='"done": true'):
    return f'{{"totalSize": {len(rows) if total is None else total}, {place}, "records": [{", ".join(rows)}]}}'


NONE = st.just("<\0null\0>")
ATTRIBUTES = st.just('{"type": "x", "url": [1, {"a": -2.5e3}]}')
PARENTS = objects(
    Id=VALUES, CreatedBy=st.one_of(NONE, objects(Name=VALUES)), attributes=ATTRIBUTES, Odd=VALUES, **{EMAIL: VALUES}
)
CHILDREN = objects("Id", Id=TEXTS, Name=VALUES, CreatedDate=VALUES, attributes=ATTRIBUTES, Odd=VALUES)
ROWS = objects(
    *("Id", "SystemModstamp", BELOW), Id=TEXTS, SystemModstamp=TEXTS, Name=VALUES, i360__Completed_On__c=VALUES,
    name=VALUES, Odd=VALUES, attributes=ATTRIBUTES,
    **{PARENT: st.one_of(NONE, PARENTS), BELOW: st.one_of(NONE, st.lists(CHILDREN, max_size=3).map(page_of))},
)  # fmt: skip


def pages(some):
    """A first page and, perhaps, a second: as many rows as they say."""
    first, second = some
    more = f'"done": false, "nextRecordsUrl": "/services/data/v66.0/query/01g-{len(first)}"'
    total = len(first) + len(second)
    return [page_of(first, total, more if second else '"done": true'), page_of(second, total)]


PAGES = st.tuples(st.lists(ROWS, min_size=1, max_size=4), st.lists(ROWS, max_size=2)).map(pages)


# ---- both ways ---------------------------------------------------------------------------------------------


def answered(query, first, second):
    """The rows, or what the error says; with the spelling of each value, so that 1 is not 1.0."""

    def org(request):
        if request.url.path.endswith("/composite"):
            part = b'{"httpHeaders": {}, "referenceId": "r0", "body": %s, "httpStatusCode": 200}' % first
            return httpx.Response(200, content=b'{"compositeResponse": [%s]}' % part)
        return httpx.Response(200, content=second)

    with scripted(*[org] * 20, known=()) as adapter:
        adapter._describes.shapes.update(SHAPES)
        adapter._describes.checked.update(SHAPES)
        try:
            return repr(sorted_keys([only(query, row) for row in ask(adapter, query)]))
        except EndpointError as error:
            return repr(error)


def only(query, row, inside=""):
    """What `query` asks for of a row."""
    asked = {path.removeprefix(inside).partition(".")[0] for path in query.paths if path.startswith(inside)}
    asked |= {"Id", "SystemModstamp"} if query.stamped and not inside else set()
    kept = {name: value for name, value in row.items() if name in asked}
    kept = {
        name: only(query, value, f"{inside}{name}.") if isinstance(value, dict) else value
        for name, value in kept.items()
    }
    below = (
        {name: [only(child, one) for one in row[name]] for name, child in query.children.items()} if not inside else {}
    )
    return kept | below


def sorted_keys(value):
    if isinstance(value, Mapping):
        return {name: sorted_keys(value[name]) for name in sorted(value)}
    return [sorted_keys(one) for one in value] if isinstance(value, list) else value


def both(*texts):
    sent = [MARKED.sub(r"\1", text).encode("utf-8", "surrogatepass") for text in texts]
    found = answered(QUERY, *sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "decoder", lambda *_: None)
        return found, answered(QUERY, *sent)


@settings(deadline=None)
@given(PAGES)
def test_pages_as_orgs_write_them_give_the_same_rows(texts):
    by_types, by_standard = both(*texts)
    assert by_types == by_standard
    assert by_types.startswith("[{")
    assert decoder(QUERY, SHAPES)(MARKED.sub(r"\1", texts[0]).encode())


@settings(deadline=None)
@given(PAGES, st.data())
def test_odd_pages_give_the_same_rows_or_the_same_error(texts, data):
    at = data.draw(st.integers(0, 1))
    places = [found.span() for found in MARKED.finditer(texts[at])] or [(0, 0)]
    start, end = data.draw(st.sampled_from(places))
    texts[at] = texts[at][:start] + data.draw(st.sampled_from(BAD)) + texts[at][end:]
    by_types, by_standard = both(*texts)
    assert by_types == by_standard


@settings(deadline=None)
@given(PAGES, st.data())
def test_spoilt_pages_give_the_same_rows_or_the_same_error(texts, data):
    start = data.draw(st.integers(0, len(texts[0]) - 1))
    end = start + data.draw(st.integers(0, 9))
    texts[0] = texts[0][:start] + data.draw(st.sampled_from(SPOILS)) + texts[0][end:]
    by_types, by_standard = both(*texts)
    assert by_types == by_standard


# ---- what is read, and what is left to the standard parser ---------------------------------------------------


def test_rows_hold_what_was_asked_for():
    page = rows_page(
        '{"attributes": {"type": "x"}, "Odd": [1], "Name": 1.50, "i360__Prospect__r": {"Id": "a", "Odd": 2}}'
    )
    (row,) = decoder(QUERY, SHAPES)(page)["records"]
    assert row == {"Name": 1.5, PARENT: {"Id": "a"}}


def rows_page(*rows):
    return page_of(rows).encode()


@pytest.mark.parametrize(
    "page",
    [
        b"[]",
        b"null",
        b"<html>busy</html>",
        rows_page("null"),
        rows_page("[]"),
        rows_page(f'{{"{PARENT}": "text"}}'),
        rows_page(f'{{"{PARENT}": []}}'),
        rows_page(f'{{"{BELOW}": []}}'),
        rows_page(f'{{"{BELOW}": ""}}'),
        rows_page(r'{"Odd": "\ud800"}'),
        rows_page('{"Name": NaN}'),
        rows_page('{"Name": 1e400}'),
        rows_page('{"Name": ' + "9" * 5_000 + "}"),
        rows_page('{"Name": ' + "[" * 5_000 + "]" * 5_000 + "}"),
        b'{"records": [{"Name": "\xed\xa0\x80"}]}',
        b'{"records": [{"Name": "\xff"}]}',
        b'\xef\xbb\xbf{"records": []}',
        '{"records": []}'.encode("utf-16"),
    ],
)
def test_a_page_that_no_org_writes_is_refused(page):
    with pytest.raises((msgspec.MsgspecError, ValueError, RecursionError)):
        decoder(QUERY, SHAPES)(page)


@pytest.mark.parametrize(
    "query",
    [
        Query(PROSPECT, (EMAIL.lower(), EMAIL)),
        Query(PROSPECT, where=(Where("name", ("x",), fold=True),)),
        Query(PROJECT, (f"{PARENT}.name",)),
        Query(PROJECT, (f"{PARENT.lower()}.Name",)),
        Query(PROJECT, ("Name",), children={BELOW: Query(ACTIVITY, ("name",))}),
    ],
)
def test_an_org_answers_in_its_own_letter_case_so_all_keys_are_read(query):
    assert decoder(query, SHAPES) is None


def test_of_a_parent_that_may_be_anything_all_is_read():
    page = rows_page('{"What": {"attributes": {}, "Name": "Acme", "Odd": 1}, "Who": "x"}')
    (row,) = decoder(Query("Task", ("What.Name",), stamped=False), SHAPES)(page)["records"]
    assert row == {"What": {"attributes": {}, "Name": "Acme", "Odd": 1}}
