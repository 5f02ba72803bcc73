"""How calls to an API are signed and held to its limits, and that no message shows a secret."""

import threading
from contextlib import closing
from datetime import timedelta

import pytest
from http_server import Answer, Moving, rows, serving, spoken

from connector import source
from connector.endpoints import connect
from connector.endpoints.http.api import Limit
from connector.endpoints.http.session import Limits
from connector.errors import ConnectorError, RateLimited, SetupError, Unauthorized, Unavailable
from connector.model import Change, Query

STAFF = "\nobjects: {staff: {list: {call: GET /staff}, create: {call: POST /staff}}}"
KEY = 'auth: {header: X-Api-Key, value: "{api_key}"}' + STAFF
MINT = """
auth:
  value: "Bearer {token}"
  mint: {call: POST /oauth/token, form: {grant_type: client_credentials, client_id: "{id}", client_secret: "{secret}"}}
"""
REFRESH = """
auth:
  value: "Bearer {token}"
  mint: {call: POST /oauth/token, form: {grant_type: refresh_token, refresh_token: "{refresh}"}}
"""
OWN = """
auth:
  header: X-Session
  value: "{token}"
  mint: {call: POST /login, json: {user: {name: "{id}", secret: "{secret}"}}, token: session.key}
"""
PAIR = {"id": "client-123", "secret": "s3cret-456"}


class Vendor:
    """Mints tokens t1, t2 ... and takes the newest only."""

    def __init__(self):
        self.minted, self.lock = 0, threading.Lock()

    def __call__(self, asked):
        if asked.method == "POST":
            with self.lock:
                self.minted += 1
                token = f"token-{self.minted}"
            return {"access_token": token, "session": {"key": token}}
        held = asked.headers.get("authorization", asked.headers.get("x-session", "")).removeprefix("Bearer ")
        return [{"id": 1}] if held == f"token-{self.minted}" else Answer({"error": f"{held} has ended"}, 401)


def test_a_static_header_has_any_name_and_form():
    with spoken(KEY, lambda _: [], auth={"api_key": "k-123456"}) as (endpoint, asked):
        rows(endpoint)
        assert asked[0].headers["x-api-key"] == "k-123456"
        assert "authorization" not in asked[0].headers


@pytest.mark.parametrize(
    ("api", "auth", "sent"),
    [
        (MINT, PAIR, {"grant_type": "client_credentials", "client_id": "client-123", "client_secret": "s3cret-456"}),
        (REFRESH, {"refresh": "r3fresh-789"}, {"grant_type": "refresh_token", "refresh_token": "r3fresh-789"}),
        (OWN, PAIR, {"user": {"name": "client-123", "secret": "s3cret-456"}}),
    ],
)
def test_a_token_is_minted_once_and_again_when_it_has_ended(api, auth, sent):
    vendor = Vendor()
    with spoken(api + STAFF, vendor, auth=auth) as (endpoint, asked):
        rows(endpoint)
        rows(endpoint)
        assert (asked[0].body if api == OWN else asked[0].form) == sent
        assert vendor.minted == 1
        vendor.minted += 1
        assert len(rows(endpoint)) == 1
        assert [call.method for call in asked] == ["POST", "GET", "GET", "GET", "POST", "GET"]


def test_many_threads_mint_one_token():
    vendor = Vendor()
    with spoken(MINT + STAFF, vendor, auth=PAIR) as (endpoint, _):
        threads = [threading.Thread(target=rows, args=(endpoint,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert vendor.minted == 1


def test_a_token_that_is_never_good_is_not_minted_for_ever():
    def answer(asked):
        return {"access_token": "token-0"} if asked.method == "POST" else Answer(None, 401)

    with (
        spoken(MINT + STAFF, answer, auth=PAIR) as (endpoint, asked),
        pytest.raises(Unauthorized, match="check the secrets"),
    ):
        rows(endpoint)
    assert [call.method for call in asked] == ["POST", "GET"] * 2


def test_tokens_may_be_minted_at_another_host_and_go_only_to_the_one_of_the_api():
    vendor = Vendor()
    with (
        serving(vendor) as (login, minted),
        spoken(MINT + STAFF, vendor, auth=PAIR, login=f"{login}/v1") as (endpoint, asked),
    ):
        rows(endpoint)
    assert [call.path for call in minted] == ["/v1/oauth/token"]
    assert [call.path for call in asked] == ["/staff"]
    assert "s3cret-456" not in str(asked)


@pytest.mark.parametrize(
    "body", [{}, {"access_token": None}, {"access_token": "a\nb"}, {"access_token": {"a": 1}}, [], b"<html>"]
)
def test_an_answer_without_a_token_is_said(body):
    with spoken(MINT + STAFF, lambda _: body, auth=PAIR) as (endpoint, _), pytest.raises(Unavailable, match="token"):
        rows(endpoint)


ECHOES = [
    (KEY, {"api_key": "k-123456"}, lambda asked: Answer({"error": f"bad key {asked.headers['x-api-key']}"}, 401)),
    (KEY, {"api_key": "k-123456"}, lambda asked: Answer({"error": asked.headers["x-api-key"]}, 422)),
    (KEY, {"api_key": "k-123456"}, lambda asked: Answer(asked.headers["x-api-key"].encode(), 500)),
    (KEY, {"api_key": "k-123456\n"}, lambda _: []),
    (KEY, {"api_key": "k-123456é"}, lambda _: []),
    (MINT + STAFF, PAIR, lambda asked: Answer(asked.raw, 400)),
    (MINT + STAFF, PAIR, lambda asked: Answer({"error": asked.raw.decode()}, 401)),
    (MINT + STAFF, PAIR, Vendor()),
    (MINT + STAFF, PAIR, lambda asked: {"access_token": "token-9"} if "oauth" in asked.path else Answer({"e": str(asked.headers)}, 403)),
]  # fmt: skip


@pytest.mark.parametrize(("api", "auth", "answer"), ECHOES)
def test_no_message_shows_a_secret(api, auth, answer):
    said = []
    try:
        with spoken(api, answer, auth=auth) as (endpoint, _):
            for act in (lambda: rows(endpoint), lambda: endpoint.write([Change("create", "staff", {"name": "Ann"})])):
                if isinstance(answer, Vendor):
                    answer.minted = 50
                try:
                    said += [str(each.error) for each in act() or () if not isinstance(each, dict)]
                except ConnectorError as error:
                    said.append(f"{error} {error.__cause__} {error.__context__}")
    except ConnectorError as error:
        said.append(str(error))
    assert said
    for secret in ("k-123456", "s3cret-456", "token-"):
        assert not any(secret in text for text in said), said


def test_a_secret_that_is_not_given_is_named():
    settings = {"adapter": "http", "url": "https://api.example.com", "api": source.parse("api: x\n" + KEY).tree}
    with pytest.raises(SetupError, match="needs api_key"):
        connect("partner", settings, Moving(), {})
    with closing(connect("partner", settings | {"auth": {"api_key": "k-123456"}}, Moving(), {})) as endpoint:
        assert endpoint.keys("staff").id == "id"


def test_the_address_may_have_a_path_that_all_calls_have():
    with serving(lambda _: [{"id": 1}]) as (url, asked):
        settings = {"url": f"{url}/v2/", "api": source.parse("api: x" + STAFF).tree, "adapter": "http"}
        with closing(connect("partner", settings, Moving(), {})) as endpoint:
            list(endpoint.read([Query("staff")]))
    assert asked[0].path == "/v2/staff"


# ---- limits ----------------------------------------------------------------------------------------------


def taken(limits, calls, clock):
    at = []
    for _ in range(calls):
        limits.take()
        at.append((clock.now() - Moving().now()).total_seconds())
    return at


def test_several_limits_hold_at_once():
    clock = Moving()
    at = taken(Limits((Limit(3, 1), Limit(5, 10)), clock), 11, clock)
    assert at == [0, 0, 0, 1, 1, 10, 10, 10, 11, 11, 20]


@pytest.mark.parametrize("pause", [0, 0.3, 0.99])
def test_no_span_of_the_length_has_more_calls_than_allowed(pause):
    clock, at = Moving(), []
    limits = Limits((Limit(4, 2),), clock)
    for _ in range(40):
        limits.take()
        at.append(clock.now())
        clock.at += timedelta(seconds=pause)
    for first, fifth in zip(at, at[4:], strict=False):
        assert fifth - first >= timedelta(seconds=2)


def test_a_wait_of_hours_is_told_not_slept():
    clock = Moving()
    with spoken("limits: [{calls: 2, per: 1d}]" + STAFF, lambda _: [], clock) as (endpoint, asked):
        rows(endpoint)
        rows(endpoint)
        with pytest.raises(RateLimited, match="2 in 86400 s") as raised:
            rows(endpoint)
        assert raised.value.wait == 86400
        assert len(asked) == 2
        assert sum(clock.waits) == 0
