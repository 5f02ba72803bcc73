"""The Salesforce adapter: its exact requests over a scripted transport, its behaviour over the sandbox org on real HTTP."""

import json
import logging
import re
import threading
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.endpoints.salesforce import Salesforce
from connector.endpoints.salesforce.decoding import form
from connector.endpoints.salesforce.soql import gone, literal, objects, soql, split
from connector.errors import (
    Drifted,
    EndpointError,
    RateLimited,
    Rejected,
    SetupError,
    SpecError,
    Unauthorized,
    Unavailable,
)
from connector.model import Keys, Query, Where, Window
from connector.sandbox import Org, serve
from connector.shape import load

FOLDER = Path(__file__).parents[2] / "mappings" / "shapes"
SHAPES = load(FOLDER)
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
PROSPECT, PROJECT, ACTIVITY = "i360__Prospect__c", "i360__Project__c", "i360__Production_Activity__c"
EMAIL, SURNAME = "i360__Primary_Email__c", "i360__Primary_Last_Name__c"
SECRET = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}


class Still:
    def __init__(self):
        self.waits = []

    def now(self):
        return NINE

    def sleep(self, seconds):
        self.waits.append(seconds)


# ---- a scripted org --------------------------------------------------------------------------------------

TOKEN = {"access_token": "00D!canary-token", "instance_url": "https://acme.my.salesforce.com", "token_type": "Bearer"}


def token(**more):
    return httpx.Response(200, json=TOKEN | more)


def refused(code, message="no", status=400, **more):
    return httpx.Response(status, json=[{"errorCode": code, "message": message, **more}])


def composite(*bodies, **headers):
    """Answers of 200 to each subrequest in turn; a tuple is (status, body)."""

    def answer(request):
        asked = json.loads(request.content)["compositeRequest"]
        parts = [body if isinstance(body, tuple) else (200, body) for body in bodies]
        return httpx.Response(
            200,
            headers=headers,
            json={
                "compositeResponse": [
                    {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": one["referenceId"]}
                    for one, (status, body) in zip(asked, parts, strict=True)
                ]
            },
        )

    return answer


def rows(*records, total=None, **more):
    return {"totalSize": len(records) if total is None else total, "done": True, "records": list(records)} | more


def recorded(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


class Script:
    """Answers in turn, each a Response, a function of the request, or an error; token requests are answered apart."""

    def __init__(self, *answers, token=token):
        self.answers, self.token = list(answers), token
        self.requests, self.signed_in = [], 0

    def __call__(self, request):
        self.requests.append(request)
        if request.url.path == "/services/oauth2/token":
            self.signed_in += 1
            return self.token()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


@contextmanager
def scripted(
    *answers, token=token, login="https://acme.my.salesforce.com", known=(PROSPECT,), describes=None, **settings
):
    """An adapter whose cache knows some shapes, so that its first call is the one under test."""
    script, clock = Script(*answers, token=token), Still()
    host = httpx.URL(login).host
    describes = describes or {name: recorded(name) for name in known}
    cache = {
        f"describe {host} 66.0 {name}": json.dumps({"modified": "", "describe": each})
        for name, each in describes.items()
    }
    settings = {"adapter": "salesforce", "login": login, "auth": SECRET | {"client_secret": "canary-secret"}} | settings
    transport = httpx.MockTransport(script)
    with closing(Salesforce("remote", settings, clock=clock, cache=cache, transport=transport)) as adapter:
        adapter.clock, adapter.script = clock, script
        yield adapter


DESCRIBED = recorded(PROSPECT)
ROW = {"Id": "a01Sb0000000001IAA", "SystemModstamp": "2026-03-02T08:59:00Z"}
ASK = Query(PROSPECT, (EMAIL,), stamped=False)


def ask(adapter, *queries):
    return [row for page in adapter.read(queries or [ASK]) for row in page.rows]


# ---- signing in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "address"),
    [
        ("https://test.salesforce.com", "https://test.salesforce.com/services/oauth2/token"),
        (
            "https://acme--uat.sandbox.my.salesforce.com",
            "https://acme--uat.sandbox.my.salesforce.com/services/oauth2/token",
        ),
        ("https://acme.my.salesforce.com/", "https://acme.my.salesforce.com/services/oauth2/token"),
    ],
)
def test_which_org_is_decided_by_the_login_host_alone(login, address):
    requests = []

    def nobody(request):
        requests.append(request)
        raise httpx.ConnectError("nothing is sent in this test")

    settings = {"login": login, "auth": SECRET}
    with closing(Salesforce("remote", settings, clock=Still(), transport=httpx.MockTransport(nobody))) as adapter:
        assert requests == []
        with pytest.raises(Unavailable, match="no connection to"):
            adapter.describe(["Account"])
    assert {str(request.url) for request in requests} == {address}
    assert requests[0].method == "POST"
    assert parse_qs(requests[0].content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["sandbox"],
        "client_secret": ["sandbox"],
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auth": SECRET}, "login"),
        ({"login": "https://acme.my.salesforce.com"}, "sign in"),
        ({"login": "https://a.com", "auth": SECRET | {"grant": "password"}}, "grant client_credentials"),
        ({"login": "https://a.com", "auth": SECRET | {"client_secret": ""}}, "none of them empty"),
        ({"login": "http://acme.my.salesforce.com", "auth": SECRET}, "only https"),
    ],
)
def test_settings_that_cannot_work_are_the_admins(settings, message):
    with pytest.raises(SetupError, match=message):
        Salesforce("remote", settings, clock=Still())


def test_a_version_may_be_a_number():
    with scripted(composite(rows()), version=65.0, known=()) as adapter:
        adapter.script.answers.insert(0, composite(DESCRIBED))
        ask(adapter)
        assert adapter.script.requests[-1].url.path == "/services/data/v65.0/composite"


def test_the_time_is_asked_without_signing_in_and_without_a_bill():
    date = httpx.Response(200, json=[], headers={"Date": "Mon, 02 Mar 2026 09:00:00 GMT"})
    with scripted(date) as adapter:
        assert adapter.now() == NINE
        assert (adapter.calls, adapter.script.signed_in) == (0, 0)
        assert "authorization" not in adapter.script.requests[0].headers


def test_a_refused_client_is_told_where_to_look():
    body = {"error": "invalid_client", "error_description": "invalid client credentials canary-secret"}
    with scripted(token=lambda: httpx.Response(400, json=body)) as adapter:
        with pytest.raises(Unauthorized) as caught:
            ask(adapter)
        assert str(caught.value) == (
            "acme.my.salesforce.com refused the client id or secret (invalid_client: invalid client credentials ***); "
            "check the connection's secrets"
        )
        assert adapter.script.signed_in == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>login</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"access_token": "x"}),
        httpx.Response(503, text="<h1>later</h1>"),
    ],
)
def test_a_sign_in_that_is_not_answered_properly_is_tried_again_and_then_unavailable(answer):
    with scripted(token=lambda: answer) as adapter:
        with pytest.raises(Unavailable):
            ask(adapter)
        assert adapter.script.signed_in == 5
        assert len(adapter.clock.waits) >= 4


@pytest.mark.parametrize(
    ("login", "instance", "used"),
    [
        ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com", True),
        ("https://acme.my.salesforce.com", "acme.my.salesforce.com", True),
        ("https://test.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com", True),
        ("https://acme.my.salesforce.com", "https://na1.salesforce.com", True),
        ("https://acme.my.salesforce.com", "https://acme.force.com", True),
        ("https://crm.example.com", "https://crm.example.com", True),
        ("https://acme.my.salesforce.com", "https://evil.example.com", False),
        ("https://acme.my.salesforce.com", "https://evilsalesforce.com", False),
        ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com.evil.example.com", False),
        ("https://acme.my.salesforce.com", "http://acme.my.salesforce.com", False),
        ("https://acme.my.salesforce.com", "http://127.0.0.1:8080", False),
        ("http://127.0.0.1:8080", "http://localhost:9090", True),
        ("http://127.0.0.1:8080", "https://evil.example.com", False),
    ],
)
def test_the_token_goes_only_to_salesforce_or_back_to_where_it_came_from(login, instance, used):
    with scripted(composite(rows()), login=login, token=lambda: token(instance_url=instance)) as adapter:
        adapter._describes.checked.add(PROSPECT)
        if used:
            ask(adapter)
            assert adapter.script.requests[-1].url.host == httpx.URL(instance).host or "://" not in instance
        else:
            with pytest.raises((Unauthorized, SetupError)):
                ask(adapter)
            assert all("authorization" not in request.headers for request in adapter.script.requests)


def test_an_expired_token_is_renewed_once():
    with scripted(
        refused("INVALID_SESSION_ID", status=401), composite(DESCRIBED, rows({EMAIL: "ada@example.com"}))
    ) as adapter:
        assert ask(adapter) == [{EMAIL: "ada@example.com"}]
        assert (adapter.script.signed_in, adapter.calls) == (2, 1)


def test_a_new_token_that_is_refused_too_is_the_admins():
    with scripted(*[refused("INVALID_SESSION_ID", "Session expired or invalid", status=401)] * 2) as adapter:
        with pytest.raises(Unauthorized, match="INVALID_SESSION_ID"):
            ask(adapter)
        assert adapter.script.signed_in == 2


@pytest.mark.parametrize(
    "message", ["This session is not valid for use with the REST API", "Connected app is not attached to Agent"]
)
def test_two_401s_are_not_cured_by_a_new_token(message):
    with scripted(refused("INVALID_SESSION_ID", message, status=401)) as adapter:
        with pytest.raises(Unauthorized):
            ask(adapter)
        assert adapter.script.signed_in == 1


def test_threads_that_find_the_token_expired_sign_in_once():
    lock, both = threading.Lock(), threading.Barrier(2, timeout=10)
    live = ["old"]

    def answer(request):
        if request.url.path == "/services/oauth2/token":
            with lock:
                signed.append(1)
            return token(access_token="old" if len(signed) == 1 else "new")
        if request.headers["authorization"] != f"Bearer {live[0]}":
            both.wait()  # both threads have sent the old token
            return refused("INVALID_SESSION_ID", status=401)
        return composite(rows())(request)

    signed = []
    with scripted() as adapter:
        adapter._describes.checked.add(PROSPECT)
        adapter._session._login._transport.handler = answer
        ask(adapter)
        live[0] = "new"
        threads = [threading.Thread(target=ask, args=(adapter,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(signed) == 2


def test_no_secret_is_seen_anywhere(caplog):
    caplog.set_level(logging.DEBUG)
    with scripted(
        refused("MALFORMED_QUERY"), httpx.ReadError("x"), httpx.Response(414, text="<h1>Bad</h1>")
    ) as adapter:
        shown = [repr(adapter), str(adapter), repr(adapter._session), repr(adapter._session._login)]
        for _ in range(2):
            with pytest.raises(EndpointError) as caught:
                ask(adapter)
            shown += [repr(caught.value), str(caught.value), repr(caught.value.__cause__)]
    assert not re.search("canary", "".join(shown) + caplog.text)


# ---- values and names in SOQL ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("string", "O'Brien", r"'O\'Brien'"),
        ("string", "a\\", r"'a\\'"),
        ("string", "\\' OR Name != '", r"'\\\' OR Name != \''"),
        ("string", "a\nb\tc", r"'a\nb\tc'"),
        ("string", 5, "'5'"),
        ("picklist", "50% off_", "'50% off_'"),
        ("string", None, "null"),
        ("id", "0015g00000AbCdE", "'0015g00000AbCdEAAV'"),
        ("reference", "0015g00000AbCdEAAV", "'0015g00000AbCdEAAV'"),
        ("datetime", "2026-03-02T10:00:00+01:00", "2026-03-02T09:00:00Z"),
        ("datetime", "2026-03-02T09:00:00.123Z", "2026-03-02T09:00:00.123Z"),
        ("datetime", NINE, "2026-03-02T09:00:00Z"),
        ("date", "2026-03-02", "2026-03-02"),
        ("date", NINE, "2026-03-02"),
        ("time", "10:30:00.000Z", "10:30:00.000Z"),
        ("boolean", True, "true"),
        ("boolean", "False", "false"),
        ("int", 5, "5"),
        ("double", 1e21, "1000000000000000000000"),
        ("currency", "15000.50", "15000.50"),
    ],
)
def test_a_literal_is_written_by_the_type_of_its_field(kind, value, text):
    assert literal(kind, value) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("id", "ada@example.com"),
        ("id", "' OR Id != '"),
        ("id", 5),
        ("reference", ""),
        ("int", "five"),
        ("int", True),
        ("double", "NaN"),
        ("double", "1e999999"),
        ("boolean", 1),
        ("datetime", "yesterday"),
        ("datetime", "2026-03-02"),
        ("date", "02/03/2026"),
        ("time", "noon"),
        ("string", "x" * 4001),
        ("string", "\ud800"),
        ("string", "a\0b"),
        ("string", ["a"]),
        ("string", {"a": 1}),
    ],
)
def test_what_a_field_cannot_hold_has_no_literal(kind, value):
    with pytest.raises(ValueError):
        literal(kind, value)


ONE_LITERAL = re.compile(r"""'([^'\\]|\\[nrtbf"'\\])*'""", re.DOTALL)


@given(st.text())
def test_any_text_stays_one_literal(text):
    if "\0" not in text:
        assert ONE_LITERAL.fullmatch(literal("string", text))


@given(st.text(), st.sampled_from(["id", "int", "date", "datetime", "time", "boolean"]))
def test_text_for_another_type_never_leaves_its_literal(text, kind):
    with suppress(ValueError):
        assert re.fullmatch(r"'[0-9A-Za-z]{18}'|[-0-9.]+|[-0-9T:.Z]+|true|false", literal(kind, text))


WINDOW = Window(NINE - timedelta(hours=1), NINE)
SOQL = {
    "exactly the paths, in their order": (
        Query(PROSPECT, ("Id", "Name", EMAIL), stamped=False),
        f"SELECT Id, Name, {EMAIL} FROM {PROSPECT}",
    ),
    "Id where nothing else is asked": (Query(PROSPECT, stamped=False), f"SELECT Id FROM {PROSPECT}"),
    "id and stamp": (Query(PROSPECT, (EMAIL,)), f"SELECT {EMAIL}, Id, SystemModstamp FROM {PROSPECT}"),
    "nothing twice": (
        Query(PROSPECT, ("id", "Name", "Name", "SystemModstamp")),
        f"SELECT id, Name, SystemModstamp FROM {PROSPECT}",
    ),
    "parents by path": (
        Query(PROJECT, (f"i360__Prospect__r.{EMAIL}",), stamped=False),
        f"SELECT i360__Prospect__r.{EMAIL} FROM {PROJECT}",
    ),
    "the whole object, and a parent": (
        Query("Note", ("Owner.Name",), whole=True, stamped=False),
        f"SELECT {', '.join(SHAPES['Note'].fields)}, Owner.Name FROM Note",
    ),
    "one value": (
        Query(PROSPECT, where=(Where(EMAIL, ("o'b@example.com",)),), stamped=False),
        f"SELECT Id FROM {PROSPECT} WHERE {EMAIL} = 'o\\'b@example.com'",
    ),
    "several values, and several fields": (
        Query(PROSPECT, where=(Where("Name", ("a", "b")), Where("IsDeleted", (False,))), stamped=False),
        f"SELECT Id FROM {PROSPECT} WHERE Name IN ('a', 'b') AND IsDeleted = false",
    ),
    "null among the values": (
        Query(PROSPECT, where=(Where("Name", ("a", None)),), stamped=False),
        f"SELECT Id FROM {PROSPECT} WHERE (Name = 'a' OR Name = null)",
    ),
    "a value by its parent's type": (
        Query(PROJECT, where=(Where("i360__Prospect__r.CreatedDate", ("2026-03-02T10:00:00+01:00",)),), stamped=False),
        f"SELECT Id FROM {PROJECT} WHERE i360__Prospect__r.CreatedDate = 2026-03-02T09:00:00Z",
    ),
    "text compared loosely": (
        Query(PROSPECT, ("Id",), where=(Where("Name", (" Ada ", "100%  Ada_L"), fold=True),), stamped=False),
        f"SELECT Id, Name FROM {PROSPECT} WHERE (Name = 'Ada' OR Name LIKE '100\\%%Ada\\_L')",
    ),
    "a window": (
        Query(PROSPECT, window=WINDOW),
        (
            f"SELECT Id, SystemModstamp FROM {PROSPECT} WHERE SystemModstamp >= 2026-03-02T08:00:00Z "
            "AND SystemModstamp <= 2026-03-02T09:00:00Z ORDER BY SystemModstamp, Id"
        ),
    ),
    "a window from the beginning": (
        Query(PROSPECT, window=Window(None, NINE)),
        f"SELECT Id, SystemModstamp FROM {PROSPECT} WHERE SystemModstamp <= 2026-03-02T09:00:00Z ORDER BY SystemModstamp, Id",
    ),
    "a window of another field": (
        Query(PROSPECT, window=Window(NINE, NINE, field="CreatedDate")),
        (
            f"SELECT Id, SystemModstamp, CreatedDate FROM {PROSPECT} WHERE CreatedDate >= 2026-03-02T09:00:00Z "
            "AND CreatedDate <= 2026-03-02T09:00:00Z ORDER BY CreatedDate, Id"
        ),
    ),
    "from behind a row on": (
        Query(PROSPECT, window=Window(None, NINE, after=("2026-03-02T08:30:00Z", "a01Sb0000000001IAA"))),
        (
            f"SELECT Id, SystemModstamp FROM {PROSPECT} WHERE (SystemModstamp > 2026-03-02T08:30:00Z OR "
            "(SystemModstamp = 2026-03-02T08:30:00Z AND Id > 'a01Sb0000000001IAA')) AND SystemModstamp <= 2026-03-02T09:00:00Z "
            "ORDER BY SystemModstamp, Id"
        ),
    ),
    "an order": (
        Query(PROSPECT, ("Name",), order=("CreatedDate", "Id"), stamped=False),
        f"SELECT Name FROM {PROSPECT} ORDER BY CreatedDate, Id",
    ),
    "children": (
        Query(
            PROJECT,
            ("Name",),
            stamped=False,
            children={"i360__Production_Activities__r": Query(ACTIVITY, ("Name",), stamped=False)},
        ),
        f"SELECT Name, (SELECT Name FROM i360__Production_Activities__r ORDER BY CreatedDate, Id) FROM {PROJECT}",
    ),
}


@pytest.mark.parametrize("case", SOQL)
def test_a_query_as_soql(case):
    query, text = SOQL[case]
    assert soql(query, SHAPES) == text


def test_the_whole_of_an_object_leaves_out_what_cannot_be_selected_as_such():
    text = soql(Query("Account", whole=True), SHAPES)
    assert "BillingCity" in text
    assert "BillingAddress" not in text


@pytest.mark.parametrize(
    "query",
    [
        Query(PROSPECT, ("Name FROM User",)),
        Query(PROSPECT, ("Name, Id",)),
        Query(PROSPECT, ("(SELECT Id FROM Notes)",)),
        Query(PROSPECT, ("Näme",)),
        Query(PROSPECT, where=(Where("Name = '' OR Name", ("a",)),)),
        Query(PROSPECT, order=("Id LIMIT 1",)),
        Query(PROSPECT, order=("Id; x",)),
        Query(PROSPECT, children={"Notes) FROM X --": Query("Note")}),
    ],
)
def test_only_names_get_into_soql(query):
    with pytest.raises(SpecError):
        soql(query, SHAPES)


def test_a_long_list_becomes_several_queries():
    ids = tuple(f"a01Sb{n:010}" for n in range(1000))
    parts = split(Query(PROSPECT, where=(Where("Id", ids), Where("Name", ("a", "b")))), SHAPES)
    assert [len(part.where[0].values) for part in parts] == [400, 400, 200]
    assert all(part.where[1].values == ("a", "b") for part in parts)


def test_long_values_become_several_queries():
    parts = split(Query(PROSPECT, where=(Where("Name", tuple(f"{n}{'x' * 3000}" for n in range(40))),)), SHAPES)
    assert len(parts) > 1
    assert all(len(soql(part, SHAPES)) < 100_000 for part in parts)


def test_spellings_of_one_value_stay_in_one_query():
    values = (*(f"v{n}" for n in range(400)), "V0")
    first, second = split(Query(PROSPECT, where=(Where("Name", values),)), SHAPES)
    assert {"v0", "V0"} <= set(first.where[0].values)
    assert second.where[0].values


def test_values_that_no_row_can_have_are_not_asked_for():
    assert split(Query(PROSPECT, where=(Where("Id", ("ada@example.com", "")),)), SHAPES) == []
    (part,) = split(Query(PROSPECT, where=(Where("Id", ("ada@example.com", "a01Sb0000000001")),)), SHAPES)
    assert part.where[0].values == ("a01Sb0000000001",)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            Query(PROSPECT, ("i360__Primary_Emial__c",)),
            f"{PROSPECT} has no field i360__Primary_Emial__c (near: {EMAIL}",
        ),
        (
            Query(PROJECT, ("i360__Prospect__r.Nothing__c",)),
            f"{PROSPECT} has no field Nothing__c, named in i360__Prospect__r.Nothing__c; check the mapping",
        ),
        (
            Query(PROJECT, ("i360__Prospct__r.Name",)),
            f"{PROJECT} has no field i360__Prospct__r (near: i360__Prospect__r",
        ),
        (Query(PROSPECT, (EMAIL, "Owner.Name")), "None"),
    ],
)
def test_a_name_that_is_gone_is_named(query, message):
    error = gone(query, SHAPES)
    assert str(error).startswith(message)


def test_the_objects_of_a_query_are_those_on_its_paths():
    query = Query(PROJECT, (f"i360__Prospect__r.{EMAIL}", "Owner.Name"), children={"x": Query(ACTIVITY)})
    assert objects(query, SHAPES) == {PROJECT, PROSPECT, "User", ACTIVITY}


def test_rows_come_in_our_spelling():
    query = Query(
        PROJECT,
        ("Name", f"i360__Prospect__r.{EMAIL}", "i360__Prospect__r.CreatedDate", "i360__Prospect__c"),
        stamped=False,
    )
    given = [
        {
            "attributes": {"type": PROJECT},
            "Name": "2026-03-02T09:00:00.000+0000",
            "i360__Prospect__c": "a01Sb0000000001",
            "i360__Prospect__r": {"attributes": {}, EMAIL: None, "CreatedDate": "2026-03-02T09:00:00.120+0000"},
        },
        {"attributes": {}, "Name": None, "i360__Prospect__c": None, "i360__Prospect__r": None},
    ]
    form(query, SHAPES).tidy(given)
    assert given == [
        {
            "Name": "2026-03-02T09:00:00.000+0000",
            "i360__Prospect__c": "a01Sb0000000001IAA",
            "i360__Prospect__r": {EMAIL: None, "CreatedDate": "2026-03-02T09:00:00.120Z"},
        },
        {"Name": None, "i360__Prospect__c": None, "i360__Prospect__r": None},
    ]


def test_rows_that_only_look_alike_are_dropped():
    alike = form(Query(PROSPECT, where=(Where("Name", (" ada L",), fold=True),), stamped=False), SHAPES).alike
    assert alike([{"Name": "Ada  L"}, {"Name": "Ada of L"}, {"Name": None}]) == [{"Name": "Ada  L"}]


# ---- reading ---------------------------------------------------------------------------------------------


@contextmanager
def org_of(*loaded, page_size=2000, cache=None, shapes=(), settings=None, **more):
    """An org whose clock stands at nine, with rows of a minute before, and an adapter signed in to it."""
    raw = {name: recorded(name) for name in SHAPES} | {each["name"]: each for each in shapes}
    org = Org(raw.values(), page_size=page_size, clock=lambda: NINE, **more)
    org.set_clock(NINE - timedelta(minutes=1))
    org.ids = org.load(loaded) if loaded else []
    org.set_clock(NINE)
    try:
        with serve(org) as url, closing(at(url, cache, **(settings or {}))) as adapter:
            yield org, adapter
    finally:
        org.close()


def at(url, cache=None, **settings):
    clock = Still()
    adapter = Salesforce("remote", {"login": url, "auth": SECRET, **settings}, clock=clock, cache=cache)
    adapter.clock, adapter.url = clock, url
    return adapter


def prospects(count):
    return [{"object": PROSPECT, SURNAME: f"Lovelace {n}", EMAIL: f"ada{n}@example.com"} for n in range(count)]


CHANGED = Window(NINE - timedelta(hours=1), NINE)


def test_a_steady_poll_is_one_call_with_its_describes_revalidated_in_it():
    cache: dict[str, str] = {}
    poll = [
        Query("i360__Appointment__c", (f"i360__Prospect__r.{EMAIL}",), window=CHANGED),
        Query(PROJECT, ("Name",), window=CHANGED),
        Query(ACTIVITY, ("Name",), window=CHANGED),
    ]
    with org_of(*prospects(1), cache=cache) as (org, adapter):
        ask(adapter, *poll)
        assert len(cache) == 4
        with closing(at(adapter.url, cache)) as fresh:
            for polls in (1, 2, 3):
                before = org.billed
                ask(fresh, *poll)
                assert (org.billed - before, fresh.calls) == (1, polls)
        assert all(json.loads(kept)["modified"] for kept in cache.values())


def test_a_poll_asks_for_describes_only_if_they_changed():
    with scripted(composite((304, None), rows())) as adapter:
        kept = f"describe acme.my.salesforce.com 66.0 {PROSPECT}"
        adapter._describes._cache[kept] = json.dumps(
            {"modified": "Mon, 02 Mar 2026 08:00:00 GMT", "describe": DESCRIBED}
        )
        ask(adapter, Query(PROSPECT, window=CHANGED))
        described, asked = json.loads(adapter.script.requests[-1].content)["compositeRequest"]
        assert described["url"] == f"/services/data/v66.0/sobjects/{PROSPECT}/describe"
        assert described["httpHeaders"] == {"If-Modified-Since": "Mon, 02 Mar 2026 08:00:00 GMT"}
        assert "httpHeaders" not in asked
        assert re.fullmatch(r"/services/data/v66\.0/query\?q=[\w.~%-]+", asked["url"], re.ASCII)
        assert adapter.calls == 1


def test_pages_come_in_the_order_of_the_queries_and_close_each():
    with org_of(*prospects(7), {"object": "Account", "Name": "Acme"}, page_size=3) as (org, adapter):
        ours = tuple(id_ for id_ in org.ids if id_.startswith("a01"))
        pages = list(
            adapter.read([
                Query(PROSPECT, (EMAIL,), window=CHANGED),
                Query("Account", ("Name",), where=(Where("Id", ("nonsense",)),)),
                Query("Account", ("Name",), stamped=False),
                Query(PROSPECT, where=(Where("Id", ours),)),
            ])
        )  # fmt: skip
    assert [(page.query, len(page.rows), page.last) for page in pages] == [
        (0, 3, False),
        (0, 3, False),
        (0, 1, True),
        (1, 0, True),
        (2, 1, True),
        (3, 3, False),
        (3, 3, False),
        (3, 1, True),
    ]
    assert pages[4].rows == [{"Name": "Acme"}]
    assert pages[0].rows[0] == {EMAIL: "ada0@example.com", "Id": ours[0], "SystemModstamp": "2026-03-02T08:59:00Z"}


def test_more_than_five_queries_take_further_calls():
    with org_of(*prospects(2)) as (org, adapter):
        adapter.describe([PROSPECT])
        before = org.billed
        pages = list(adapter.read([ASK] * 12))
        assert org.billed - before == 3
    assert [page.query for page in pages] == list(range(12))


def test_a_thousand_ids_are_looked_up_in_one_call():
    with org_of(*prospects(1000)) as (org, adapter):
        adapter.describe([PROSPECT])
        before = org.billed
        found = ask(adapter, Query(PROSPECT, (EMAIL,), where=(Where("Id", tuple(org.ids)),), stamped=False))
        assert org.billed - before == 1
    assert len({row[EMAIL] for row in found}) == len(found) == 1000


def test_rows_behind_a_keyset_are_the_rest():
    with org_of(*prospects(5)) as (_, adapter):
        every = ask(adapter, Query(PROSPECT, window=CHANGED))
        after = (every[1]["SystemModstamp"], every[1]["Id"])
        window = Window(CHANGED.since, NINE, after=after)
        assert ask(adapter, Query(PROSPECT, window=window)) == every[2:]


def test_a_window_ends_at_its_upper_bound():
    with org_of(*prospects(1)) as (_, adapter):
        assert ask(adapter, Query(PROSPECT, window=Window(None, NINE - timedelta(minutes=2)))) == []
        assert len(ask(adapter, Query(PROSPECT, window=Window(None, NINE - timedelta(minutes=1))))) == 1


def test_children_come_as_lists_in_full():
    with org_of({"object": PROJECT, "Name": "Kitchen"}, {"object": PROJECT, "Name": "Roof"}, page_size=2) as (
        org,
        adapter,
    ):
        kitchen = org.ids[0]
        org.load({"object": ACTIVITY, "Name": f"Step {n}", "i360__Project__c": kitchen} for n in range(5))
        project, steps = Query(PROJECT, ("Name",), window=CHANGED), Query(ACTIVITY, ("Name",), stamped=False)
        below = adapter.nest(project, steps, {"i360__Project__c": "Id"})
        project.children[below] = steps
        first, second = ask(adapter, project)
    assert below == "i360__Production_Activities__r"
    assert first[below] == [{"Name": f"Step {n}"} for n in range(5)]
    assert second[below] == []


@pytest.mark.parametrize(
    ("child", "on", "below"),
    [
        (Query(ACTIVITY), {"i360__Project__c": "Id"}, "i360__Production_Activities__r"),
        (Query(ACTIVITY), {"i360__Project__c": "Name"}, None),
        (Query(ACTIVITY), {"OwnerId": "Id"}, None),
        (Query(ACTIVITY), {"i360__Project__c": "Id", "Name": "Name"}, None),
        (Query(PROSPECT), {"i360__Project__c": "Id"}, None),
        (Query(ACTIVITY, window=CHANGED), {"i360__Project__c": "Id"}, None),
    ],
)
def test_a_list_comes_along_where_the_org_has_the_relationship(child, on, below):
    with scripted(known=(PROJECT,)) as adapter:
        assert adapter.nest(Query(PROJECT), child, on) == below


def test_text_is_found_however_it_is_spaced_and_spelled():
    names = ["Kitchen  Remodel", "kitchen remodel", "Kitchen and Remodel", "Roof"]
    with org_of(*({"object": PROJECT, "Name": name} for name in names)) as (_, adapter):
        found = ask(adapter, Query(PROJECT, ("Name",), where=(Where("Name", (" Kitchen remodel ",), fold=True),)))
    assert sorted(row["Name"] for row in found) == ["Kitchen  Remodel", "kitchen remodel"]


@pytest.mark.parametrize(
    "query", [Query(PROSPECT, (EMAIL,), window=CHANGED), Query(PROSPECT, (EMAIL,))], ids=["window", "none"]
)
def test_a_session_that_ends_between_pages_loses_and_repeats_nothing(query):
    with org_of(*prospects(8), page_size=3) as (org, adapter):
        adapter.describe([PROSPECT])
        found = []
        get, ended = adapter._session.get, []

        def between(address, decode):
            if len(ended) < 2:
                ended.append(address)
                org.revoke_tokens()
            return get(address, decode)

        adapter._session.get = between
        for page in adapter.read([query]):
            found += page.rows
    assert [row[EMAIL] for row in found] == [f"ada{n}@example.com" for n in range(8)]


def test_a_place_that_is_always_lost_is_given_up():
    more = rows({"Id": "a01Sb0000000001IAA", "SystemModstamp": "2026-03-02T08:00:00.000+0000"}, total=2)
    more |= {"done": False, "nextRecordsUrl": "/services/data/v66.0/query/0r8-1"}
    answers = [composite(DESCRIBED, more)]
    for _ in range(4):
        answers += [refused("INVALID_QUERY_LOCATOR"), composite(more)]
    with scripted(*answers) as adapter, pytest.raises(Unavailable, match="cut off 4 times"):
        list(adapter.read([Query(PROSPECT, window=CHANGED)]))


HALF = {
    "a next page without an address": rows({}, total=5, done=False),
    "no records": {"totalSize": 0, "done": True},
    "no size": {"records": [], "done": True},
    "a list": [],
    "null": None,
    "fewer rows than announced": rows({}, total=2),
    "more rows than announced": rows({}, {}, total=1),
}


@pytest.mark.parametrize("case", HALF)
def test_an_answer_that_does_not_hold_together_is_no_answer(case):
    with scripted(composite(DESCRIBED, HALF[case])) as adapter, pytest.raises(Unavailable):
        ask(adapter)


def test_a_page_at_another_origin_is_not_fetched():
    body = rows({}, total=2, done=False, nextRecordsUrl="https://evil.example.com/query/0r8")
    with scripted(composite(DESCRIBED, body)) as adapter, pytest.raises(EndpointError, match="not sent"):
        ask(adapter)


@pytest.mark.parametrize(
    "body", [{}, {"compositeResponse": []}, {"compositeResponse": [None, None]}, [], "x", {"compositeResponse": [{}]}]
)
def test_a_composite_answer_without_its_parts_is_asked_for_again(body):
    answers = [httpx.Response(200, json=body)] * 5
    with scripted(*answers) as adapter, pytest.raises(Unavailable, match="did not answer every part"):
        ask(adapter)


PART = {
    "MALFORMED_QUERY": Rejected,
    "INVALID_TYPE": Drifted,
    "INVALID_QUERY_FILTER_OPERATOR": Rejected,
    "QUERY_TIMEOUT": Unavailable,
    "INVALID_SESSION_ID": Unauthorized,
}


@pytest.mark.parametrize("code", PART)
def test_a_query_that_fails_is_never_no_record(code):
    failing = (400, [{"errorCode": code, "message": "no"}])
    again = [composite(failing, rows())] * 5
    with scripted(*again) as adapter:
        adapter._describes.checked.add(PROSPECT)
        if PART[code] is Drifted:  # the describe is asked for, to see whether it has changed
            adapter.script.answers.insert(1, composite(DESCRIBED))
        with pytest.raises(PART[code]) as caught:
            ask(adapter, ASK, ASK)
        assert type(caught.value) is PART[code]


@pytest.mark.parametrize("status", [500, 502, 503, 406, 420, 429])
def test_a_read_is_repeated_while_the_org_is_busy(status):
    busy = httpx.Response(status, text="<html><h1>later</h1></html>")
    with scripted(busy, busy, composite(DESCRIBED, rows({EMAIL: None}))) as adapter:
        assert ask(adapter) == [{EMAIL: None}]
        assert len(adapter.clock.waits) == 2


def test_a_part_that_is_not_possible_now_is_repeated():
    with org_of(*prospects(1)) as (org, adapter):
        org.fault(object=PROSPECT, verb="read", status=503, times=2)
        assert len(ask(adapter)) == 1
        assert adapter.clock.waits


def test_an_org_without_calls_left_says_so_at_once():
    with org_of(*prospects(1), api_limit=1) as (_, adapter):
        adapter.describe([PROSPECT])
        with pytest.raises(RateLimited, match="calls of 24 hours are used up") as caught:
            ask(adapter)
        assert caught.value.wait is None
        assert adapter.clock.waits == []


def test_too_many_calls_at_once_are_repeated():
    message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    with scripted(refused("REQUEST_LIMIT_EXCEEDED", message, 403), composite(DESCRIBED, rows())) as adapter:
        assert ask(adapter) == []
        assert len(adapter.clock.waits) == 1


# ---- shapes that change ----------------------------------------------------------------------------------


def without(*names):
    return DESCRIBED | {"fields": [field for field in DESCRIBED["fields"] if field["name"] not in names]}


def test_a_field_that_was_added_is_read_in_the_same_poll():
    new = {"name": "Region__c", "label": "Region", "type": "string", "filterable": True}
    grown = DESCRIBED | {"fields": [*DESCRIBED["fields"], new]}
    row = ROW | {"Region__c": "North"}
    with scripted(composite(grown, rows()), composite(rows(row))) as adapter:
        assert ask(adapter, Query(PROSPECT, whole=True, stamped=False)) == [row]
        assert "Region__c" in adapter.script.requests[-1].content.decode()
        assert adapter.calls == 2


def test_a_field_that_was_removed_is_no_longer_asked_for():
    failing = (400, [{"errorCode": "INVALID_FIELD", "message": f"No such column '{EMAIL}'"}])
    with scripted(composite(without(EMAIL), failing), composite(rows(ROW))) as adapter:
        assert ask(adapter, Query(PROSPECT, whole=True, stamped=False)) == [ROW]


def test_a_path_whose_field_is_gone_is_named():
    failing = (400, [{"errorCode": "INVALID_FIELD", "message": f"No such column '{EMAIL}'"}])
    with scripted(composite(without(EMAIL), failing)) as adapter, pytest.raises(Drifted) as caught:
        ask(adapter)
    assert str(caught.value).startswith(f"{PROSPECT} has no field {EMAIL}")


def test_a_name_that_never_was_is_named_with_a_proposal():
    with org_of() as (_, adapter), pytest.raises(Drifted, match=f"near: {EMAIL}"):
        ask(adapter, Query(PROSPECT, ("i360__Primary_Emial__c",)))


def test_an_object_that_is_not_there_is_named():
    with org_of() as (_, adapter), pytest.raises(Drifted, match="has no object Nothing__c"):
        adapter.describe(["Nothing__c"])


def test_describes_are_shapes_and_kept():
    cache: dict[str, str] = {}
    with org_of(cache=cache) as (_, adapter):
        assert adapter.describe(["Account", PROSPECT])["Account"].fields["Name"].type == "string"
        assert adapter.calls == 1
        with closing(at(adapter.url, cache)) as again:
            assert again.keys(PROSPECT) == Keys("Id", "SystemModstamp", "CreatedDate")
            assert again.calls == 0


def test_many_describes_take_as_many_calls_as_it_goes():
    with org_of() as (_, adapter):
        names = [name for name in SHAPES if name != "Group"]
        assert set(adapter.describe(names * 3)) == set(names)
        assert adapter.calls == 1
