"""The JWT bearer flow: an assertion signed with a registered key is checked in every part."""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sandbox_site import NOW

ANN = "ann@example.com"
LOGIN = "https://login.salesforce.com"


@cache
def key(number=0):
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(private):
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def certificate(private):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "job")])
    made = x509.CertificateBuilder(name, name, private.public_key(), 1, NOW, NOW + timedelta(days=9))
    return made.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.fixture
def site(site_with):
    clients = {
        "sandbox": "sandbox",
        "by_key": {"certificate": public_pem(key())},
        "by_certificate": {"secret": "s3cret", "certificate": certificate(key()), "approved": [ANN]},
        "keyless": {"secret": "s3cret"},
    }
    with site_with(clients=clients, users=[{"username": ANN}, {"username": "bob@example.com"}]) as made:
        yield made


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(claims, private=None, header=None):
    text = f"{part(header or {'alg': 'RS256'})}.{part(claims)}"
    signature = (private or key()).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims(**given):
    return {"iss": "by_key", "sub": ANN, "aud": LOGIN, "exp": int(NOW.timestamp()) + 180, **given}


def grant(site, assertion):
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return site.bare.post(f"{site.url}/services/oauth2/token", data=form)


@pytest.mark.parametrize(
    "given",
    [{}, {"iss": "by_certificate"}, {"aud": "https://test.salesforce.com"}, {"aud": "https://test.salesforce.com/"},
     {"exp": str(int(NOW.timestamp()) + 180)}, {"sub": ANN.upper()}],
)  # fmt: skip
def test_a_signed_assertion_is_a_session(site, given):
    response = grant(site, signed(claims(**given)))
    body = response.json()
    assert response.status_code == 200, body
    assert body.keys() == {"access_token", "scope", "instance_url", "id", "token_type"}
    assert body["id"].endswith(site.org.user(ANN).id)
    site.http.headers["Authorization"] = f"Bearer {body['access_token']}"
    assert site.query("SELECT Id FROM Account").status_code == 200


def test_the_org_itself_is_an_audience_too(site):
    assert grant(site, signed(claims(aud=site.url))).status_code == 200


@pytest.mark.parametrize(
    ("given", "error", "description"),
    [
        ({"iss": "nobody"}, "invalid_client_id", "client identifier invalid"),
        ({"iss": 5}, "invalid_client_id", "client identifier invalid"),
        ({"iss": "keyless"}, "unsupported_grant_type", "grant type not supported"),
        ({"aud": "https://evil.example"}, "invalid_grant", "audience is invalid"),
        ({"aud": [LOGIN]}, "invalid_grant", "audience is invalid"),
        ({"aud": None}, "invalid_grant", "audience is invalid"),
        ({"exp": int(NOW.timestamp())}, "invalid_grant", "token validity expired"),
        ({"exp": int(NOW.timestamp()) + 3600}, "invalid_grant", "token validity expired"),
        ({"exp": "soon"}, "invalid_grant", "invalid assertion"),
        ({"exp": True}, "invalid_grant", "invalid assertion"),
        ({"exp": 10**400}, "invalid_grant", "invalid assertion"),
        ({"exp": None}, "invalid_grant", "invalid assertion"),
        ({"sub": "nobody@example.com"}, "invalid_grant", "user hasn't approved this consumer"),
        ({"sub": {}}, "invalid_grant", "user hasn't approved this consumer"),
        ({"iss": "by_certificate", "sub": "bob@example.com"}, "invalid_grant", "user hasn't approved this consumer"),
    ],
)
def test_a_wrong_claim_is_refused(site, given, error, description):
    response = grant(site, signed(claims(**given)))
    assert (response.status_code, response.json()) == (400, {"error": error, "error_description": description})


def broken():
    good = signed(claims())
    head, body, signature = good.split(".")
    yield signed(claims(), key(1))
    yield signed(claims(), header={"alg": "none"})
    yield signed(claims(), header={"alg": "HS256"})
    yield f"{head}.{body}."
    yield f"{head}.{part(claims(sub='bob@example.com'))}.{signature}"
    yield f"{head}.{body}.{signature}.{signature}"
    yield f"{part([])}.{body}.{signature}"
    yield f"{part({'alg': 'RS256'})}.{part('text')}.{signature}"
    yield f"!!.{body}.{signature}"
    yield f"{head}.{body}.é"
    yield ""
    yield "." * 20_000
    yield base64.b64encode(b"[" * 9000).decode() + f".{body}.{signature}"


def test_a_broken_assertion_is_refused(site):
    for assertion in broken():
        response = grant(site, assertion)
        assert (response.status_code, response.json()) == (
            400, {"error": "invalid_grant", "error_description": "invalid assertion"}), assertion[:80]  # fmt: skip


@pytest.mark.parametrize("pem", ["rubbish", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", ""])
def test_what_is_no_key_cannot_be_registered(new_org, pem):
    with pytest.raises(ValueError, match=r"certificate|not a text"):
        new_org(clients={"a": {"certificate": pem}})


def test_a_key_is_an_rsa_key(new_org):
    with pytest.raises(ValueError, match="no RSA key"):
        new_org(clients={"a": {"certificate": public_pem(ec.generate_private_key(ec.SECP256R1()))}})


def test_a_client_of_strangers_signs_in_with_a_key(site_with):
    import requests
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat
    from simple_salesforce import Salesforce
    from test_org_clients import PlainHttp

    pem = key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    clients = {"sandbox": "sandbox", "job": {"certificate": certificate(key())}}
    real = {"clock": lambda: datetime.now(UTC)}  # the client has no other
    with site_with(clients=clients, users=[{"username": ANN}], **real) as site, requests.Session() as session:
        session.mount("https://", PlainHttp(site.url.removeprefix("http://")))
        client = Salesforce(username=ANN, consumer_key="job", privatekey=pem, session=session, version="66.0")
        assert client.query("SELECT Username FROM User WHERE Username LIKE 'ann%'")["totalSize"] == 1
