"""The token endpoint: what is granted, and the words of each refusal."""

import pytest

GRANT = {"grant_type": "client_credentials"}
BODY = {**GRANT, "client_id": "sandbox", "client_secret": "sandbox"}


def token(site, **given):
    return site.bare.post(f"{site.url}/services/oauth2/token", **given)


def test_client_credentials_come_as_basic_header_or_in_the_body(site):
    for given in ({"data": GRANT, "auth": ("sandbox", "sandbox")}, {"data": BODY}):
        body = token(site, **given).json()
        assert body["access_token"].startswith("00D")
        assert body["access_token"][15] == "!"
        assert body["instance_url"] == site.url
        assert body["id"].startswith(f"{site.url}/id/00D")
        assert (body["token_type"], body["issued_at"]) == ("Bearer", "1741780800000")
        assert "refresh_token" not in body


def test_a_chunked_body_without_a_length_works(site):
    def parts():
        yield b"grant_type=client_credentials&client_id=sandbox"
        yield b"&client_secret=sandbox"

    response = token(site, content=parts(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert "content-length" not in response.request.headers
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("form", "error", "description"),
    [
        ({**BODY, "client_secret": "x"}, "invalid_client", "invalid client credentials"),
        ({**BODY, "client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        (GRANT, "invalid_client_id", "client identifier invalid"),
        ({**BODY, "grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
        ({}, "unsupported_grant_type", "grant type not supported"),
    ],
)
def test_a_refusal_is_an_object(site, form, error, description):
    response = token(site, data=form)
    assert (response.status_code, response.json()) == (400, {"error": error, "error_description": description})


@pytest.mark.parametrize("grant", ["device", "urn:ietf:params:oauth:grant-type:saml2-bearer"])
def test_other_grants_are_named(site, grant):
    response = token(site, data={**BODY, "grant_type": grant})
    assert (response.status_code, response.json()[0]["message"]) == (
        501,
        f"The grant {grant} is not emulated by the sandbox org",
    )


def test_the_token_endpoint_wants_post(site):
    assert site.bare.get(f"{site.url}/services/oauth2/token").status_code == 405


def test_a_broken_basic_header_is_a_wrong_client(site):
    for header in ("Basic !!!", "Basic /w==", "Basic"):
        assert token(site, data=GRANT, headers={"Authorization": header}).json()["error"] == "invalid_client_id"


def test_a_token_ends_by_the_clock_of_the_org(site_with):
    from datetime import timedelta

    from sandbox_site import NOW

    with site_with(token_seconds=60) as site:
        site.org.set_clock(NOW + timedelta(seconds=59))
        assert site.query("SELECT Id FROM Account").status_code == 200
        site.org.set_clock(NOW + timedelta(seconds=60))
        assert site.query("SELECT Id FROM Account").json()[0]["errorCode"] == "INVALID_SESSION_ID"


def test_revoked_tokens_are_dead_and_new_ones_work(site):
    site.org.revoke_tokens()
    assert site.query("SELECT Id FROM Account").status_code == 401
    site.sign_in()
    assert site.query("SELECT Id FROM Account").status_code == 200


def test_clients_can_be_named(site_with):
    with site_with(clients={"me": "s3cret", "sandbox": "sandbox"}) as site:
        assert token(site, data=GRANT, auth=("me", "s3cret")).status_code == 200
        assert token(site, data=GRANT, auth=("me", "sandbox")).status_code == 400
