"""jsforce takes the org for the real thing: it signs in every way it knows and reads the org's set-up."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jsforce_tours import tour
from sandbox_site import SHAPES, site_of
from test_org_assertion import public_pem, signed

from connector.sandbox import Org, fixtures

ANN = "ann@example.com"
CALLBACK = "http://localhost:8080/callback"
OBJECTS = {
    "Account": {
        "fields": {
            "Land__c": {"type": "picklist", "values": [f"L{number}" for number in range(40)]},
            "City__c": {
                "type": "picklist",
                "controllerName": "Land__c",
                "values": [{"value": "Near", "validFor": ["L0", "L9"]}, {"value": "Far", "validFor": ["L39"]}],
            },
        },
        "recordTypes": {"Customer": {"picklists": {"City__c": ["Far"]}}},
    }
}


@pytest.fixture(scope="module")
def site():
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    web = {"secret": "s3cret", "callbacks": [CALLBACK]}
    clients = {
        "sandbox": "sandbox",
        "web": web,
        "strict": {**web, "pkce": True},
        "rotating": {**web, "rotate": True},
        "job": {"certificate": public_pem(private)},
    }
    user = {"username": ANN, "password": "secret", "first_name": "Ann"}
    org = Org(fixtures.merged(SHAPES, OBJECTS), clients=clients, users=[user])
    org.private = private
    org.load([{"object": "Account", "Name": "Acme"}])
    org.consent("allow", ANN)
    org.rules("Account", duplicates=[{"fields": ["Name"]}])
    with site_of(org) as made:
        yield made


def test_it_signs_in_every_way_it_knows(site):
    ends = int(datetime.now(UTC).timestamp()) + 180
    claims = {"iss": "job", "sub": ANN, "aud": "https://login.salesforce.com", "exp": ends}
    assertion = signed(claims, site.org.private)
    steps = tour(
        "login",
        url=site.url, version="66.0", callback=CALLBACK, username=ANN, password="secret", assertion=assertion)  # fmt: skip
    ann = site.org.user(ANN).id
    spent = "invalid_grant", "expired authorization code"
    assert steps == {
        "authorize": {"state": "mine", "refresh": "string", "instance": site.url, "user": ann},
        "query": ["Acme"],
        "identity": ANN,
        "userinfo": ANN,
        "refresh on a session that ended": {"refreshes": 1, "total": 1},
        "a rotated refresh token": {"changed": True, "again": "invalid_grant: expired access/refresh token"},
        "pkce": 1,
        "pkce with a wrong verifier": {"error": "invalid_grant", "message": "invalid code verifier"},
        "without pkce": "invalid_request",
        "a code twice": {"error": spent[0], "message": spent[1]},
        "password": {"user": ann, "limits": 15000},
        "a wrong password": {"error": "invalid_grant", "message": "authentication failure - Invalid Password"},
        "client credentials": "integration@sandbox.example",
        "jwt bearer": ANN,
        "logout": {"error": "INVALID_SESSION_ID", "message": "Session expired or invalid"},
    }


def test_it_reads_the_orgs_set_up(site):
    steps = tour("metadata", url=site.url, version="66.0", accessToken=site.sign_in())
    assert {"Account", "RecordType", "i360__Prospect__c"} <= set(steps.pop("describe global"))
    assert {"sobjects", "identity", "limits", "recent"} <= set(steps.pop("resources"))
    info = steps["limits"].pop("info")
    assert info["apiUsage"]["limit"] == 15000
    assert steps == {
        "describe": {
            "objectKeys": 45,
            "fieldKeys": [57],
            "recordTypes": ["Customer", "Master"],
            "cities": {"Near": ["L0", "L9"], "Far": ["L39"]},
        },
        "describe is cached": 0,
        "describe of an unknown object": {"error": "NOT_FOUND", "message": "The requested resource does not exist"},
        "limits": {"requests": 15000},
        "versions": 38,
        "record types": ["Customer"],
        "picklist values": [["Far", [39]]],
        "recent": ["Newest"],
        "recent of an object": ["Newest", "Acme"],
        "a duplicate": {"error": "DUPLICATES_DETECTED", "message": "Use one of these records?"},
        "a duplicate that is wanted": True,
        "not emulated": {
            "error": "NOT_IMPLEMENTED_IN_SANDBOX",
            "message": "tooling/query is not emulated by the sandbox org",
        },
    }
