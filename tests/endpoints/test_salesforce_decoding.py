"""Pages are decoded by types made of their query: the rows are those of the standard parser, whatever the page holds."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_salesforce import ACTIVITY, EMAIL, PROJECT, PROSPECT, SHAPES, ask, scripted

from connector.canon import id18
from connector.endpoints.forms import date, instant
from connector.endpoints.salesforce import reading
from connector.endpoints.salesforce.decoding import decoder, fields, form
from connector.errors import EndpointError
from connector.model import Query, Where

BELOW, PARENT, LOOKUP, DAY = (
    "i360__Production_Activities__r",
    "i360__Prospect__r",
    "i360__Prospect__c",
    "i360__Completed_On__c",
)
LINES = Query(ACTIVITY, ("Id", "Name", "CreatedDate"), stamped=False)
QUERY = Query(
    PROJECT,
    ("Name", DAY, LOOKUP, f"{PARENT}.Id", f"{PARENT}.{EMAIL}", f"{PARENT}.CreatedDate", f"{PARENT}.CreatedBy.Name"),
    children={BELOW: LINES},
)
FOLDED = replace(QUERY, children={BELOW: replace(LINES, where=(Where("Name", ("A",), fold=True),))})
"""Of its lists not all rows are handed out that the org gives."""
BARE = (replace(QUERY, children={}), replace(QUERY, children={BELOW: replace(LINES, paths=("Name",))}))


# ---- pages as texts: what JSON can say, and what no org should ----------------------------------------------

STAMPS = (
    *("2026-03-02T08:59:00.000+0000", "2026-03-02T08:59:00.120+0000", "2026-02-30T08:59:00.000+0000"),
    *(
        "2026-03-02T10:59:00.000+0200",
        "2026-03-.000+000008.000+0000",
        "no instant, of 28 characters",
        "26-03-02T08:59:00.000+0000",
    ),
    *("2026-03-02", "2026-03-02T08:59:00", "2026-03-02T08:59:00Z", ".000+0000", "2026-03-02T08:59:00.1.000+0000"),
)
IDS = (
    "a01Sb0000000001IAA",
    "a01sb0000000001iaa",
    "no id, 18 letters.",
    "a01Sb0000000001",
    "a01Sb0000000001IAAA",
    "no id",
)
DAYS = ("2026-03-02", "2026-02-30", "02.03.2026", "2026-03-02T08:59:00.000+0000", "2026-03", "20260302")
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
    st.sampled_from((*IDS, *STAMPS, *DAYS)).map(json.dumps),
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


def texts(some):
    return st.sampled_from(some).map(json.dumps).map("<\0{}\0>".format)


NONE = st.just("<\0null\0>")
ATTRIBUTES = st.just('{"type": "x", "url": [1, {"a": -2.5e3}]}')


def list_of(rows, place):
    return page_of(rows, len(rows) + place[1], place[0])


MORE = '"nextRecordsUrl": "/services/data/v66.0/query/01g-1"'
ODD = (
    *(('"done": false, ' + MORE, 0), ('"done": true, ' + MORE, 0), ('"done": true', 1), ('"done": 1', 0)),
    *(('"done": false', 0), ('"Done": true', 0), ('"done": true', 0.5), ('"done": null, "nextRecordsUrl": null', 0)),
)
"""Of a list below a row: what it says besides its rows, and by how much its number is not theirs."""


def rows(ids, stamps, days, places=(('"done": true', 0),)):
    """Rows of QUERY; what may stand for values of these types."""
    parents = objects(
        Id=ids | NONE, CreatedDate=stamps | NONE, CreatedBy=NONE | objects(Name=VALUES, attributes=ATTRIBUTES), attributes=ATTRIBUTES,
        Odd=VALUES, **{EMAIL: VALUES},
    )  # fmt: skip
    lines = objects("Id", Id=ids, Name=VALUES, CreatedDate=stamps | NONE, attributes=ATTRIBUTES, Odd=VALUES)
    return objects(
        *("Id", "SystemModstamp", BELOW), Id=ids, SystemModstamp=stamps, Name=VALUES, name=VALUES, Odd=VALUES, attributes=ATTRIBUTES,
        **{LOOKUP: ids | NONE, DAY: days | NONE, PARENT: NONE | parents, BELOW: NONE | st.builds(list_of, st.lists(lines, max_size=3), st.sampled_from(places))},
    )  # fmt: skip


def pages(rows):
    """A first page and, perhaps, a second: as many rows as they say."""
    return st.tuples(st.lists(rows, min_size=1, max_size=4), st.lists(rows, max_size=2)).map(_pages)


def _pages(some):
    first, second = some
    more = f'"done": false, "nextRecordsUrl": "/services/data/v66.0/query/01g-{len(first)}"'
    total = len(first) + len(second)
    return [page_of(first, total, more if second else '"done": true'), page_of(second, total)]


WRITTEN = pages(rows(texts(IDS[:3]), texts(STAMPS[:6]), texts(DAYS[:3])))
"""As orgs write them: ids of 18 characters, instants of 28, days of ten."""
PAGES = (
    WRITTEN
    | pages(rows(TEXTS, TEXTS, TEXTS))
    | pages(rows(VALUES, VALUES, VALUES, ODD))
    | pages(rows(texts(IDS[:3]), texts(STAMPS[:6]), texts(DAYS[:3]), ODD))
)


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


def both(*texts, query=QUERY):
    sent = [MARKED.sub(r"\1", text).encode("utf-8", "surrogatepass") for text in texts]
    found = answered(query, *sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "decoder", lambda _: None)
        return found, answered(query, *sent)


@settings(deadline=None)
@given(WRITTEN)
def test_pages_as_orgs_write_them_give_the_same_rows(texts):
    by_types, by_standard = both(*texts)
    assert by_types == by_standard
    assert by_types.startswith("[{")
    assert decoder(fields(QUERY, SHAPES))(MARKED.sub(r"\1", texts[0]).encode())


@settings(deadline=None)
@given(PAGES, st.sampled_from((QUERY, FOLDED, *BARE)))
def test_pages_with_any_values_give_the_same_rows_or_the_same_error(texts, query):
    by_types, by_standard = both(*texts, query=query)
    assert by_types == by_standard


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


ID, STAMP = IDS[0], STAMPS[0]


def row_with(**members):
    """A row that decoders take, but for `members`; one that is None is left away."""
    whole = {"Id": f'"{ID}"', "SystemModstamp": f'"{STAMP}"', BELOW: "null"} | members
    told = [f'"{name}": {text}' for name, text in whole.items() if text is not None]
    return f"{{{', '.join(told)}}}"


def rows_page(*rows):
    return page_of(rows).encode()


def test_rows_hold_what_was_asked_for():
    page = rows_page(
        row_with(attributes='{"type": "x"}', Odd="[1]", Name="1.50", **{PARENT: f'{{"Id": "{ID}", "Odd": 2}}'})
    )
    (row,) = decoder(fields(QUERY, SHAPES))(page)["records"]
    assert row == {"Id": ID, "SystemModstamp": STAMP, "Name": 1.5, PARENT: {"Id": ID}, BELOW: None}


@pytest.mark.parametrize(
    "page",
    [
        b"[]",
        b"null",
        b"<html>busy</html>",
        *map(
            rows_page,
            (
                *("null", "[]"),
                row_with(**{PARENT: '"text"'}),
                row_with(**{PARENT: "[]"}),
                row_with(**{PARENT: '{"Id": "a01Sb0000000001"}'}),
                row_with(**{PARENT: '{"CreatedDate": 1}'}),
                row_with(**{BELOW: "[]"}),
                row_with(**{BELOW: '""'}),
                row_with(**{BELOW: None}),
                row_with(**{BELOW: '{"totalSize": 0, "done": true}'}),
                row_with(**{BELOW: '{"totalSize": 0, "records": []}'}),
                row_with(**{BELOW: '{"records": [], "done": true}'}),
                row_with(**{BELOW: '{"totalSize": 0, "records": null, "done": true}'}),
                row_with(**{LOOKUP: '"a01Sb0000000001"'}),
                row_with(**{LOOKUP: "1"}),
                row_with(**{DAY: '"2026-03-02T08:59:00.000+0000"'}),
                row_with(Id=None),
                row_with(Id="null"),
                row_with(Id='"a01Sb0000000001"'),
                row_with(SystemModstamp=None),
                row_with(SystemModstamp="null"),
                row_with(SystemModstamp="1"),
                row_with(SystemModstamp='"2026-03-02T08:59:00Z"'),
                row_with(Odd=r'"\ud800"'),
                row_with(Name="NaN"),
                row_with(Name="1e400"),
                row_with(Name="9" * 5_000),
                row_with(Name="[" * 5_000 + "]" * 5_000),
            ),
        ),
        rows_page(row_with(Name='"?"')).replace(b"?", b"\xed\xa0\x80"),
        rows_page(row_with(Name='"?"')).replace(b"?", b"\xff"),
        b'\xef\xbb\xbf{"records": []}',
        '{"records": []}'.encode("utf-16"),
    ],
)
def test_a_page_that_no_org_writes_is_refused(page):
    with pytest.raises((msgspec.MsgspecError, ValueError, RecursionError)):
        decoder(fields(QUERY, SHAPES))(page)


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
    assert decoder(fields(query, SHAPES)) is None


def test_of_a_parent_that_may_be_anything_all_is_read():
    page = rows_page('{"What": {"attributes": {}, "Name": "Acme", "Odd": 1}, "Who": "x"}')
    (row,) = decoder(fields(Query("Task", ("What.Name",), stamped=False), SHAPES))(page)["records"]
    assert row == {"What": {"attributes": {}, "Name": "Acme", "Odd": 1}}


TASKS = Query("Task", ("What.Name", "What.Owner.Name"), stamped=False)


def tasks_page(*whats):
    return page_of([f'{{"attributes": {{}}, "What": {what}}}' for what in whats]).encode()


def test_of_such_parents_the_rows_are_as_well_spelled():
    acme = '{"attributes": {}, "Name": "Acme", "Owner": {"attributes": {}, "Name": "Ann"}}'
    by_types, by_standard = both(tasks_page(acme, "null", '{"Name": 1}').decode(), "", query=TASKS)
    assert by_types == by_standard
    assert "Acme" in by_types
    assert "attributes" not in by_types


@pytest.mark.parametrize("query", [TASKS, Query(PROJECT, ("Name",), stamped=False, children={"Tasks": TASKS})])
def test_such_a_parent_that_is_no_row_is_refused_by_its_object(query):
    page = tasks_page('"x"')
    if query.children:
        page = rows_page(f'{{"Name": "a", "Tasks": {page.decode()}}}')
    by_types, by_standard = both(page.decode(), "", query=query)
    assert by_types == by_standard
    assert "rows of Task that cannot be read" in by_types


# ---- rows are spelled as the shapes of today say ---------------------------------------------------------------


def test_rows_that_were_decoded_by_other_shapes_are_looked_at_in_full():
    """Between a call and its rows another thread may have learned that a text has become an instant."""
    texts = {"i360__Completed_On__c": replace(SHAPES[PROJECT].fields[DAY], type="string")}
    before = SHAPES | {PROJECT: replace(SHAPES[PROJECT], fields={**SHAPES[PROJECT].fields, **texts})}
    query = Query(PROJECT, (DAY,))
    page = decoder(fields(query, before))(rows_page(row_with(**{DAY: f'"{STAMP}"'})))
    form(query, SHAPES).spell(page, lambda *_: [])
    (row,) = page["records"]
    assert row == {"Id": ID, "SystemModstamp": "2026-03-02T08:59:00Z", DAY: "2026-03-02"}


EITHER = Query("Task", ("CreatedDate", "ActivityDate", "WhatId"), stamped=False)
SPELLED = {"CreatedDate": instant, "ActivityDate": date, "WhatId": id18}
LIKELY = st.from_regex(r"\A(.{19}\.000\+0000|.{28}|.{18}|[-.0-9]{10}|[0-9A-Za-z]{15})\Z")


@settings(deadline=None)
@given(st.sampled_from((*STAMPS, *IDS, *DAYS)) | LIKELY | st.text(max_size=30))
def test_what_the_functions_need_not_be_called_for_is_what_they_make_of_it(text):
    """But for an id whose check is in small letters: no org writes it so, and it was never looked at."""
    given = dict.fromkeys(SPELLED, text)
    wanted = {name: text if name == "WhatId" and len(text) == 18 else spell(text) for name, spell in SPELLED.items()}
    spelling = form(EITHER, SHAPES)
    spelling.tidy(rows := [dict(given)])
    assert rows == [wanted]
    for name in SPELLED:
        with suppress(msgspec.ValidationError):
            page = decoder(spelling.fields)(json.dumps({"records": [{name: text}]}).encode())
            spelling.spell(page, lambda *_: [])
            assert page["records"] == [{name: wanted[name]}]
