"""The shape of each answer about sessions and set-up: status, headers, keys and their types, with the section it stands on.

What is marked [U] in that section stands here as the org answers it today.
"""

import pytest
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org, fixtures

ACCOUNT = "001000000000001AAA"
MASTER = "012000000000000AAA"
ANN = "ann@example.com"
CALLBACK = "http://localhost:8080/callback"
OBJECTS = {
    "Account": {
        "fields": {
            "Land__c": {"type": "picklist", "values": ["US", "CA"]},
            "City__c": {
                "type": "picklist",
                "controllerName": "Land__c",
                "values": [{"value": "Near", "validFor": ["US"], "defaultValue": True}],
            },
        },
        "recordTypes": {"Customer": {"default": True}},
    }
}
JSON, HTML = "application/json;charset=UTF-8", "text/html;charset=UTF-8"
TEXT, NUMBER, TRUTH, LIST, MAP, NONE = str, int, bool, list, dict, type(None)
BILLED = ("Sforce-Limit-Info",)
TAGGED = (*BILLED, "ETag", "Last-Modified")
OAUTH_ERROR = {"error": TEXT, "error_description": TEXT}
ERROR = [{"message": TEXT, "errorCode": TEXT}]
ERROR_WITH_FIELDS = [{"message": TEXT, "errorCode": TEXT, "fields": LIST}]
TOKEN = dict.fromkeys(("access_token", "signature", "scope", "instance_url", "id", "token_type", "issued_at"), TEXT)
SUMMARY_URLS = {"describe": TEXT, "rowTemplate": TEXT, "sobject": TEXT}
PICKLIST = {"controllerValues": MAP, "defaultValue": MAP, "url": TEXT, "values": LIST}
RECORD_TYPE = {
    "active": TRUTH, "available": TRUTH, "defaultRecordTypeMapping": TRUTH, "developerName": TEXT, "master": TRUTH,
    "name": TEXT, "recordTypeId": TEXT, "urls": {"layout": TEXT}}  # fmt: skip
FIELD = {
    "compoundFieldName": (TEXT, NONE), "type": TEXT, "name": TEXT, "calculated": TRUTH, "nillable": TRUTH,
    "createable": TRUTH, "updateable": TRUTH, "referenceTo": LIST, "relationshipName": (TEXT, NONE),
    "picklistValues": LIST, "length": NUMBER, "restrictedPicklist": TRUTH, "externalId": TRUTH, "idLookup": TRUTH,
    "controllerName": (TEXT, NONE), "dependentPicklist": TRUTH, "soapType": TEXT}  # fmt: skip
CHILD = {
    "cascadeDelete": TRUTH, "childSObject": TEXT, "field": TEXT, "relationshipName": (TEXT, NONE),
    "restrictedDelete": TRUTH, "junctionIdListNames": LIST, "junctionReferenceTo": LIST}  # fmt: skip
ENTRY = {
    "name": TEXT, "label": TEXT, "labelPlural": TEXT, "keyPrefix": (TEXT, NONE), "urls": SUMMARY_URLS,
    **dict.fromkeys(("custom", "customSetting", "queryable", "createable", "updateable", "deletable", "retrieveable",
                     "replicateable", "searchable", "mergeable", "undeletable", "triggerable", "layoutable",
                     "deprecatedAndHidden"), TRUTH)}  # fmt: skip
ITEM = {"attributes": {"type": TEXT, "url": TEXT}, "Id": TEXT, "Name": TEXT}
URLS = dict.fromkeys(("rest", "sobjects", "query"), TEXT)

FORM = {"client_id": "web", "client_secret": "s3cret"}
OAUTH, DATA = "/services/oauth2", "/services/data/v66.0"
# section, method, path, what is sent (a form for OAuth, JSON else), status, content type, headers, shape; the keys of a mapping
# that stands whole are all that may come, those after MORE are some of them
MORE = "..."
ROWS = [
    ("1.2 e", "POST", f"{OAUTH}/token", {**FORM, "grant_type": "client_credentials"}, 200, JSON, (), TOKEN),
    ("1.2 g", "POST", f"{OAUTH}/token", {**FORM, "grant_type": "password", "username": ANN, "password": "x"}, 200, JSON, (), TOKEN),
    ("1.2 d", "POST", f"{OAUTH}/token", {**FORM, "grant_type": "refresh_token", "refresh_token": "x"}, 400, JSON, (), OAUTH_ERROR),
    ("1.2 a", "POST", f"{OAUTH}/token", {**FORM, "grant_type": "authorization_code", "code": "x"}, 400, JSON, (), OAUTH_ERROR),
    ("1.2", "POST", f"{OAUTH}/token", {"grant_type": "magic"}, 400, JSON, (), OAUTH_ERROR),
    ("1.2 h", "POST", f"{OAUTH}/revoke", {"token": "x"}, 400, JSON, (), OAUTH_ERROR),
    ("1.2 h", "GET", f"{OAUTH}/userinfo", None, 200, JSON, (),
     {MORE: None, "sub": TEXT, "user_id": TEXT, "organization_id": TEXT, "zoneinfo": TEXT, "urls": {MORE: None, **URLS}}),
    ("1.2 h", "GET", "{identity}", None, 200, JSON, (),
     {MORE: None, "id": TEXT, "user_id": TEXT, "organization_id": TEXT, "username": TEXT, "urls": {MORE: None, **URLS}}),
    ("1.2 h", "GET", "{identity}x", None, 403, HTML, (), None),
    ("1.2 b", "GET", f"{OAUTH}/authorize?response_type=code&client_id=web&redirect_uri={CALLBACK}", None, 200, HTML, (), None),
    ("1.2 b", "GET", f"{OAUTH}/authorize?response_type=code&client_id=web&redirect_uri={CALLBACK}&scope=x", None, 302, None,
     ("Location",), None),
    ("1.2 b", "GET", f"{OAUTH}/authorize?response_type=code&client_id=web&redirect_uri=x", None, 400, HTML, (), None),
    ("1.1", "GET", "/services/data", None, 200, JSON, (), [{"label": TEXT, "url": TEXT, "version": TEXT}]),
    ("1.1", "GET", DATA, None, 200, JSON, BILLED,
     dict.fromkeys(("composite", "identity", "jobs", "limits", "query", "queryAll", "recent", "sobjects", "ui-api"), TEXT)),
    ("1.4", "GET", f"{DATA}/sobjects", None, 200, JSON, TAGGED,
     {"encoding": TEXT, "maxBatchSize": NUMBER, "sobjects": [{MORE: None, **ENTRY}]}),
    ("1.4", "GET", f"{DATA}/sobjects/Account", None, 200, JSON, BILLED,
     {"objectDescribe": {MORE: None, **ENTRY}, "recentItems": [ITEM]}),
    ("1.4", "GET", f"{DATA}/sobjects/Account/describe", None, 200, JSON, TAGGED,
     {MORE: None, "name": TEXT, "fields": [{MORE: None, **FIELD}], "recordTypeInfos": [RECORD_TYPE],
      "childRelationships": [{MORE: None, **CHILD}], "supportedScopes": [{"label": TEXT, "name": TEXT}],
      "namedLayoutInfos": LIST}),
    ("1.4", "GET", f"{DATA}/sobjects/Nope", None, 404, JSON, BILLED, ERROR),
    ("1.4", "GET", f"{DATA}/ui-api/object-info/Account/picklist-values/{MASTER}/City__c", None, 200, JSON, BILLED,
     {**PICKLIST, "controllerValues": {"US": NUMBER, "CA": NUMBER},
      "values": [{"attributes": NONE, "label": TEXT, "validFor": [NUMBER], "value": TEXT}]}),
    ("1.4", "GET", f"{DATA}/ui-api/object-info/Account/picklist-values/{MASTER}", None, 200, JSON, BILLED,
     {"picklistFieldValues": {MORE: None, "City__c": PICKLIST}}),
    ("1.4", "GET", f"{DATA}/recent", None, 200, JSON, BILLED, [{MORE: None, "attributes": ITEM["attributes"], "Id": TEXT}]),
    ("1.8", "GET", f"{DATA}/limits", None, 200, JSON, BILLED,
     {MORE: None, "DailyApiRequests": {"Max": NUMBER, "Remaining": NUMBER},
      "DailyBulkV2QueryJobs": {"Max": NUMBER, "Remaining": NUMBER}}),
    ("1.8", "GET", f"{DATA}/limits/recordCount?sObjects=Account", None, 200, JSON, BILLED,
     {"sObjects": [{"count": NUMBER, "name": TEXT}]}),
    ("1.5", "POST", f"{DATA}/sobjects/Account", {"Name": "Acme"}, 400, JSON, BILLED, ERROR_WITH_FIELDS),
    ("1.5", "POST", f"{DATA}/sobjects/Contact", {}, 400, JSON, BILLED, ERROR_WITH_FIELDS),
    ("1.5", "PATCH", f"{DATA}/sobjects/Account/{ACCOUNT}", {"Fax": "1"}, 400, JSON, BILLED, ERROR_WITH_FIELDS),
    ("6", "GET", f"{DATA}/tooling", None, 501, JSON, BILLED, ERROR),
]  # fmt: skip


@pytest.fixture(scope="module")
def site():
    clients = {"sandbox": "sandbox", "web": {"secret": "s3cret", "callbacks": [CALLBACK]}}
    users = [{"username": ANN, "password": "x"}]
    org = Org(fixtures.merged(SHAPES, OBJECTS), clock=lambda: NOW, clients=clients, users=users)
    org.load([{"object": "Account", "Id": ACCOUNT, "Name": "Acme"}])
    org.rules("Account", duplicates=[{"fields": ["Name"]}])
    org.rules("Contact", "required")
    org.lock("Account", ACCOUNT, writes=100)
    with site_of(org) as made:
        yield made


@pytest.mark.parametrize(
    ("section", "method", "path", "sent", "status", "kind", "headers", "shape"),
    ROWS,
    ids=[f"{row[0]} {row[1]} {row[2][:70]} {row[4]}" for row in ROWS],
)
def test_an_answer_has_its_shape(site, section, method, path, sent, status, kind, headers, shape):
    path = path.replace("{identity}", f"/id/00DSb0000000001MAA/{next(iter(site.org.users))}")
    body = {"data" if path.startswith(OAUTH) else "json": sent} if sent is not None else {}
    response = site.http.request(method, path, **body)
    assert response.status_code == status, response.text
    assert response.headers.get("Content-Type") == kind
    assert response.headers["Date"] == "Wed, 12 Mar 2025 12:00:00 GMT"
    assert [name for name in headers if name not in response.headers] == []
    assert ("Sforce-Limit-Info" in response.headers) is ("Sforce-Limit-Info" in headers)
    if shape is not None:
        fits(response.json(), shape, path)


def fits(value, shape, where):
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        wanted = shape.keys() - {MORE}
        assert wanted <= value.keys() if MORE in shape else wanted == value.keys(), (where, value.keys() ^ wanted)
        for key in wanted:
            fits(value[key], shape[key], f"{where} {key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        assert value, where
        for each in value:
            fits(each, shape[0], where)
    else:
        assert isinstance(value, shape), (where, value)
        assert shape is not NUMBER or not isinstance(value, bool), (where, value)
