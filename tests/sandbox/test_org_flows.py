"""Each way to sign in, over real HTTP: what is granted, what ends, and the words of each refusal."""

import base64
import hashlib
import re
from datetime import timedelta
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_site import NOW

CALLBACK = "http://localhost:8080/callback?kept=1"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
ANN = "ann@example.com"
CLIENTS = {
    "sandbox": "sandbox",
    "web": {"secret": "s3cret", "name": "My <web> app", "callbacks": [CALLBACK]},
    "strict": {"secret": "s3cret", "callbacks": [CALLBACK], "pkce": True},
    "rotating": {"secret": "s3cret", "callbacks": [CALLBACK], "rotate": True},
    "public": {"callbacks": [CALLBACK], "pkce": True, "refresh_seconds": 60},
    "job": {"secret": "s3cret", "run_as": ANN, "flows": ["client_credentials"]},
    "careful": {"secret": "s3cret", "callbacks": [CALLBACK], "secret_on_refresh": True},
}
USERS = [
    {
        "username": ANN,
        "password": "secret",
        "security_token": "tok",
        "first_name": "Ann",
        "last_name": "Miller",
        "time_zone": "America/New_York",
    },
    {"username": "bob@example.com"},
]


@pytest.fixture
def site(site_with):
    with site_with(clients=CLIENTS, users=USERS) as made:
        made.org.consent("allow", ANN)
        yield made


def authorize(site, client="web", **given):
    asked = {"response_type": "code", "client_id": client, "redirect_uri": CALLBACK, "state": "s t&1", **given}
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    return site.bare.get(f"{site.url}/services/oauth2/authorize?{query}")


def returned(response):
    assert response.status_code == 302, response.text
    where = response.headers["Location"]
    assert where.startswith(f"{CALLBACK}&")
    return {key: value for key, [value] in parse_qs(urlsplit(where).query).items()}


def token(site, **form):
    return site.bare.post(f"{site.url}/services/oauth2/token", data=form)


def exchanged(site, client="web", verifier=None, scope=None, **given):
    pkce = PKCE if verifier else {}
    code = returned(authorize(site, client, scope=scope, **pkce))["code"]
    secret = {} if CLIENTS[client].get("secret") is None else {"client_secret": "s3cret"}
    proof = {"code_verifier": verifier} if verifier else {}
    form = {"client_id": client, "redirect_uri": CALLBACK, **secret, **proof, **given}
    return token(site, grant_type="authorization_code", code=code, **form)


def refreshed(site, refresh, client="web", **given):
    return token(site, grant_type="refresh_token", client_id=client, refresh_token=refresh, **given)


def asks(site, access, soql="SELECT Id FROM Account"):
    return site.bare.get(
        f"{site.url}/services/data/v66.0/query", params={"q": soql}, headers={"Authorization": f"Bearer {access}"}
    )


def refused(response, error, description):
    assert (response.status_code, response.json()) == (400, {"error": error, "error_description": description})


# -- authorization code


def test_a_code_is_exchanged_for_a_session_and_a_refresh_token(site):
    back = returned(authorize(site))
    assert (back["kept"], back["state"]) == ("1", "s t&1")
    response = exchanged(site)
    body = response.json()
    assert response.status_code == 200
    assert body.keys() == {
        "access_token", "refresh_token", "scope", "instance_url", "id", "token_type", "issued_at", "signature"}  # fmt: skip
    assert (body["instance_url"], body["token_type"], body["issued_at"]) == (site.url, "Bearer", "1741780800000")
    assert {"api", "refresh_token"} <= set(body["scope"].split())
    assert asks(site, body["access_token"]).status_code == 200


def test_without_its_scope_there_is_no_refresh_token(site):
    body = exchanged(site, scope="api id").json()
    assert ("refresh_token" in body, body["scope"]) == (False, "api id")


def test_a_session_without_the_scope_api_is_told_that_no_refresh_heals_it(site):
    response = asks(site, exchanged(site, scope="id").json()["access_token"])
    assert (response.status_code, response.json()) == (
        401,
        [{"message": "This session is not valid for use with the REST API", "errorCode": "INVALID_SESSION_ID"}],
    )


def test_a_code_is_good_once_and_for_15_minutes(site):
    code = returned(authorize(site))["code"]
    form = {"client_id": "web", "client_secret": "s3cret", "redirect_uri": CALLBACK, "code": code}
    assert token(site, grant_type="authorization_code", **form).status_code == 200
    refused(token(site, grant_type="authorization_code", **form), "invalid_grant", "expired authorization code")
    form["code"] = returned(authorize(site))["code"]
    site.org.set_clock(NOW + timedelta(minutes=15))
    refused(token(site, grant_type="authorization_code", **form), "invalid_grant", "expired authorization code")


@pytest.mark.parametrize(
    ("given", "error", "description"),
    [
        ({"code": "rubbish"}, "invalid_grant", "expired authorization code"),
        ({"redirect_uri": CALLBACK + "/"}, "redirect_uri_mismatch", "redirect_uri must match configuration"),
        ({"client_secret": "x"}, "invalid_client", "invalid client credentials"),
        ({"client_secret": ""}, "invalid_client", "invalid client credentials"),
        ({"client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        ({"client_id": "rotating"}, "invalid_grant", "expired authorization code"),
    ],
)
def test_a_wrong_exchange_is_refused(site, given, error, description):
    code = returned(authorize(site))["code"]
    form = {"client_id": "web", "client_secret": "s3cret", "redirect_uri": CALLBACK, "code": code, **given}
    refused(token(site, grant_type="authorization_code", **form), error, description)


def test_with_pkce_the_verifier_is_proved(site):
    assert exchanged(site, "strict", VERIFIER).status_code == 200
    assert exchanged(site, "public", VERIFIER).status_code == 200
    for wrong in ("w" * 43, "v" * 42, "v" * 172):
        response = exchanged(site, "strict", VERIFIER, code_verifier=wrong)
        refused(response, "invalid_grant", "invalid code verifier")


def test_a_public_client_omits_the_secret(site):
    response = exchanged(site, "public", VERIFIER, client_secret="s3cret")
    refused(response, "invalid_client", "invalid client credentials")


@pytest.mark.parametrize(
    ("client", "given", "error"),
    [
        ("strict", {}, "invalid_request"),
        ("strict", {"code_challenge": CHALLENGE, "code_challenge_method": ""}, "invalid_request"),
        ("web", {"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ("web", {**PKCE, "code_challenge_method": "plain"}, "invalid_request"),
        ("web", {"scope": "api magic"}, "invalid_scope"),
        ("web", {"response_type": "nonsense"}, "unsupported_response_type"),
        ("web", {"response_type": None}, "unsupported_response_type"),
    ],
)
def test_a_wrong_request_goes_back_to_the_client_as_an_error(site, client, given, error):
    back = returned(authorize(site, client, **given))
    assert (back["error"], back["state"], "code" in back) == (error, "s t&1", False)
    assert back["error_description"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"client_id": "<script>"}, "invalid_client_id"),
        ({"redirect_uri": CALLBACK.upper()}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://evil.example/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": None}, "redirect_uri_mismatch"),
    ],
)
def test_a_request_of_a_stranger_goes_nowhere(site, given, error):
    response = authorize(site, **given)
    assert (response.status_code, "Location" in response.headers) == (400, False)
    assert response.headers["Content-Type"] == "text/html;charset=UTF-8"
    assert f"error={error}" in response.text
    assert "<script>" not in response.text


def test_the_implicit_flow_is_named(site):
    assert authorize(site, response_type="token").status_code == 501


# -- the page


def form_of(page):
    assert page.status_code == 200
    return re.search(r'name="ticket" value="([^"]+)"', page.text)[1]


def decide(site, ticket, decision, username=ANN):
    return site.bare.post(
        f"{site.url}/services/oauth2/authorize", data={"ticket": ticket, "decision": decision, "username": username}
    )


def test_a_user_allows_or_denies_on_the_page(site):
    site.org.consent("ask")
    page = authorize(site, login_hint="bob@example.com")
    assert "My &lt;web&gt; app" in page.text
    assert '<option value="bob@example.com" selected>' in page.text
    assert page.headers["X-Frame-Options"] == "DENY"
    code = returned(decide(site, form_of(page), "allow"))["code"]
    form = {"client_id": "web", "client_secret": "s3cret", "redirect_uri": CALLBACK, "code": code}
    body = token(site, grant_type="authorization_code", **form).json()
    assert body["id"].endswith(site.org.user(ANN).id)
    assert returned(decide(site, form_of(authorize(site)), "deny")) == {
        "kept": "1", "error": "access_denied", "error_description": "end-user denied authorization", "state": "s t&1"}  # fmt: skip


def test_a_page_is_answered_once_and_by_a_known_user(site):
    site.org.consent("ask")
    ticket = form_of(authorize(site))
    assert decide(site, ticket, "allow").status_code == 302
    assert decide(site, ticket, "allow").status_code == 400
    assert decide(site, "rubbish", "allow").status_code == 400
    assert decide(site, form_of(authorize(site)), "allow", "nobody@example.com").status_code == 400
    ticket = form_of(authorize(site))
    site.org.set_clock(NOW + timedelta(minutes=16))
    assert decide(site, ticket, "allow").status_code == 400


def test_a_test_may_deny_in_the_users_place(site):
    site.bare.post(f"{site.url}/sandbox/consent", json={"answer": "deny"})
    assert returned(authorize(site))["error"] == "access_denied"
    assert site.bare.post(f"{site.url}/sandbox/consent", json={"answer": "maybe"}).status_code == 400


# -- refresh


def test_a_refresh_gives_a_session_and_no_new_token(site):
    first = exchanged(site).json()
    response = refreshed(site, first["refresh_token"])
    assert (response.status_code, "refresh_token" in response.json()) == (200, False)
    assert asks(site, response.json()["access_token"]).status_code == 200
    assert asks(site, first["access_token"]).status_code == 200
    assert refreshed(site, first["refresh_token"], client_secret="s3cret").status_code == 200
    refused(refreshed(site, first["refresh_token"], client_secret="x"), "invalid_client", "invalid client credentials")
    refused(refreshed(site, first["refresh_token"], "rotating"), "invalid_grant", "expired access/refresh token")
    refused(refreshed(site, "rubbish"), "invalid_grant", "expired access/refresh token")
    refused(refreshed(site, ""), "invalid_grant", "expired access/refresh token")


def test_some_clients_must_send_their_secret_to_refresh(site):
    refresh = exchanged(site, "careful").json()["refresh_token"]
    refused(refreshed(site, refresh, "careful"), "invalid_client", "invalid client credentials")
    assert refreshed(site, refresh, "careful", client_secret="s3cret").status_code == 200


def test_rotation_ends_the_token_the_session_and_its_locators(site):
    site.org.page_size = 1
    site.org.load([{"object": "Account", "Name": name} for name in "ab"])
    first = exchanged(site, "rotating").json()
    more = asks(site, first["access_token"]).json()["nextRecordsUrl"]
    second = refreshed(site, first["refresh_token"], "rotating").json()
    assert second["refresh_token"] != first["refresh_token"]
    assert asks(site, first["access_token"]).status_code == 401
    for access in (first["access_token"], second["access_token"]):
        response = site.bare.get(f"{site.url}{more}", headers={"Authorization": f"Bearer {access}"})
        assert (response.status_code, response.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    refused(refreshed(site, first["refresh_token"], "rotating"), "invalid_grant", "expired access/refresh token")
    assert refreshed(site, second["refresh_token"], "rotating").status_code == 200


def test_a_refresh_that_is_refused_leaves_the_token_as_it_was(site):
    first = exchanged(site, "rotating").json()
    site.org.edit("User", site.org.user(ANN).id, {"IsActive": False})
    assert refreshed(site, first["refresh_token"], "rotating").json()["error"] == "inactive_user"
    site.org.edit("User", site.org.user(ANN).id, {"IsActive": True})
    assert refreshed(site, first["refresh_token"], "rotating").status_code == 200


def test_a_refresh_token_may_have_an_end(site):
    refresh = exchanged(site, "public", VERIFIER).json()["refresh_token"]
    site.org.set_clock(NOW + timedelta(seconds=59))
    assert refreshed(site, refresh, "public").status_code == 200
    site.org.set_clock(NOW + timedelta(seconds=60))
    refused(refreshed(site, refresh, "public"), "invalid_grant", "expired access/refresh token")


def test_the_sixth_approval_revokes_the_oldest(site):
    grants = [exchanged(site).json() for _ in range(5)]
    site.org.consent("allow", "bob@example.com")
    exchanged(site)  # another user does not count
    site.org.consent("allow", ANN)
    exchanged(site, "careful")  # nor another client
    assert refreshed(site, grants[0]["refresh_token"]).status_code == 200
    sixth = exchanged(site).json()
    refused(refreshed(site, grants[0]["refresh_token"]), "invalid_grant", "expired access/refresh token")
    assert asks(site, grants[0]["access_token"]).status_code == 401
    for grant in (*grants[1:], sixth):
        assert refreshed(site, grant["refresh_token"]).status_code == 200


# -- revoke


def revoke(site, token_text):
    return site.bare.post(f"{site.url}/services/oauth2/revoke", data={"token": token_text})


def test_a_revoked_refresh_token_takes_its_sessions_along(site):
    first = exchanged(site).json()
    response = revoke(site, first["refresh_token"])
    assert (response.status_code, response.content) == (200, b"")
    assert asks(site, first["access_token"]).status_code == 401
    refused(refreshed(site, first["refresh_token"]), "invalid_grant", "expired access/refresh token")


def test_a_revoked_access_token_ends_alone(site):
    first = exchanged(site).json()
    assert revoke(site, first["access_token"]).status_code == 200
    assert asks(site, first["access_token"]).status_code == 401
    assert refreshed(site, first["refresh_token"]).status_code == 200
    for unknown in ("rubbish", ""):
        assert (revoke(site, unknown).status_code, revoke(site, unknown).json()["error"]) == (400, "invalid_token")
    assert site.bare.get(f"{site.url}/services/oauth2/revoke", params={"token": "rubbish"}).status_code == 400


# -- user name and password


def test_a_user_name_and_password_with_the_security_token(site):
    form = {"grant_type": "password", "client_id": "web", "client_secret": "s3cret", "username": ANN.upper()}
    body = token(site, **form, password="secrettok").json()
    assert body["id"].endswith(site.org.user(ANN).id)
    assert "refresh_token" not in body
    wrong = "authentication failure - Invalid Password"
    refused(token(site, **form, password="secret"), "invalid_grant", wrong)
    refused(token(site, **form), "invalid_grant", wrong)
    form["username"] = "nobody@example.com"
    refused(token(site, **form, password="x"), "invalid_grant", "authentication failure")
    form["username"] = "bob@example.com"  # without a password nobody signs in with one
    refused(token(site, **form, password=""), "invalid_grant", "authentication failure")


def test_a_user_switched_off_gets_in_nowhere(site):
    refresh = exchanged(site).json()["refresh_token"]
    site.org.edit("User", site.org.user(ANN).id, {"IsActive": False})
    assert refreshed(site, refresh).json()["error"] == "inactive_user"
    form = {"grant_type": "password", "client_id": "web", "client_secret": "s3cret", "username": ANN}
    assert token(site, **form, password="secrettok").json()["error"] == "inactive_user"


# -- client credentials as another user


def test_client_credentials_run_as_the_user_of_the_client(site):
    body = token(site, grant_type="client_credentials", client_id="job", client_secret="s3cret").json()
    site.http.headers["Authorization"] = f"Bearer {body['access_token']}"
    site.post("sobjects/Account", {"Name": "Acme"})
    ann = site.org.user(ANN).id
    [row] = site.org.rows("Account")
    assert (row["CreatedById"], row["OwnerId"], row["LastModifiedById"]) == (ann, ann, ann)
    refused(
        token(site, grant_type="password", client_id="job", client_secret="s3cret", username=ANN),
        "unsupported_grant_type", "grant type not supported")  # fmt: skip
    refused(
        token(site, grant_type="client_credentials", client_id="public"), "invalid_client", "invalid client credentials"
    )


# -- who am I


def test_userinfo_and_the_identity_url_tell_who_it_is(site):
    body = exchanged(site).json()
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    info = site.bare.get(f"{site.url}/services/oauth2/userinfo", headers=bearer).json()
    assert (info["sub"], info["preferred_username"], info["name"]) == (body["id"], ANN, "Ann Miller")
    assert (info["zoneinfo"], info["utcOffset"]) == ("America/New_York", -18_000_000)
    assert info["urls"]["rest"] == f"{site.url}/services/data/v{{version}}/"
    about = site.bare.get(body["id"], headers=bearer)
    assert (about.status_code, "Sforce-Limit-Info" in about.headers) == (200, False)
    assert (about.json()["username"], about.json()["user_id"]) == (ANN, info["user_id"])
    latest = site.bare.get(f"{body['id']}?version=latest", headers=bearer).json()
    assert latest["urls"]["query"] == f"{site.url}/services/data/v68.0/query/"
    map_of_resources = site.bare.get(f"{site.url}/services/data/v66.0", headers=bearer).json()
    assert map_of_resources["identity"] == body["id"]


def test_the_identity_is_told_to_its_own_user_only(site):
    body = exchanged(site).json()
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    for url, headers, word in (
        (body["id"], {}, "Missing_OAuth_Token"),
        (body["id"], {"Authorization": "Bearer x"}, "Bad_OAuth_Token"),
        (f"{body['id'][:-18]}005000000000009AAA", bearer, "Bad_Id"),
        (f"{site.url}/id/00D000000000009AAA/x", bearer, "Wrong_Org"),
        (f"{site.url}/services/oauth2/userinfo", {}, "Bad_OAuth_Token"),
    ):
        response = site.bare.get(url, headers=headers)
        assert (response.status_code, response.text) == (403, word)


# -- bad input


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"grant_type", b"&&&==", b"a=1&" * 5000, b'{"grant_type":"password"}', b"grant_type=%ff%fe",
     b"grant_type=authorization_code&client_id=web&client_secret=s3cret&code=%00'%22;--",
     b"grant_type=password&client_id=web&client_secret=s3cret&username='%20OR%201=1--&password=\xed\xa0\x80"],
)  # fmt: skip
def test_no_body_breaks_the_token_endpoint(site, body):
    for path in ("token", "revoke", "authorize"):
        response = site.bare.post(
            f"{site.url}/services/oauth2/{path}",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert response.status_code == 400
        assert "error" in response.text


WORDS = st.sampled_from(
    ["grant_type", "authorization_code", "refresh_token", "client_id", "web", "client_secret", "s3cret", "code", "token",
     "redirect_uri", CALLBACK, "response_type", "scope", "api", "state", "code_challenge", "code_challenge_method", "S256",
     "username", ANN, "password", "assertion", "urn:ietf:params:oauth:grant-type:jwt-bearer", "ticket", "decision", "allow"]
)  # fmt: skip
TEXTS = st.one_of(WORDS, st.text(st.characters(exclude_categories=["Cs"]), max_size=40))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXTS, TEXTS, max_size=8), st.sampled_from(["token", "revoke", "authorize", "userinfo"]))
def test_any_form_is_answered(site, form, path):
    for response in (
        site.bare.post(f"{site.url}/services/oauth2/{path}", data=form),
        site.bare.get(f"{site.url}/services/oauth2/{path}", params=form),
    ):
        assert response.status_code in (200, 302, 400, 403, 405, 501)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["/id/{}", "/id/{}/{}", "/services/data/v66.0/ui-api/object-info/Account/picklist-values/{}/{}",
         "/services/data/v66.0/ui-api/object-info/{}/picklist-values/012000000000000AAA", "/services/data/v66.0/sobjects/{}",
         "/services/data/v66.0/limits/recordCount?sObjects={}", "/services/data/v66.0/recent?limit={}"]
    ),
    TEXTS,
)  # fmt: skip
def test_any_name_in_a_path_is_answered(site, path, text):
    response = site.http.get(path.replace("{}", quote(text, safe="")))
    assert response.status_code in (200, 400, 403, 404, 405, 501), response.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["rules", "lock", "permit", "consent", "undelete", "merge"]),
    st.dictionaries(
        st.sampled_from(
            ["object", "rules", "validations", "duplicates", "id", "writes", "username", "objects", "fields", "answer",
             "master", "losers"]
        ),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.just("Account"), st.just(ANN), TEXTS),
            lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
            max_leaves=4,
        ),
    ),
)  # fmt: skip
def test_any_wish_of_a_test_is_answered(site, verb, body):
    response = site.bare.post(f"{site.url}/sandbox/{verb}", json=body)
    assert response.status_code in (200, 400), response.text
