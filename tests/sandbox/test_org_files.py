"""Files, links, notes and attachments."""

import base64
import json

import pytest

ACCOUNT = "001000000000001AAA"
TEXT = base64.b64encode(b"hello").decode()


@pytest.fixture
def site(site):
    site.org.load([{"object": "Account", "Id": ACCOUNT, "Name": "Acme"}])
    return site


def upload(site, **more):
    body = {"Title": "Greeting", "PathOnClient": "C:\\in\\hello.txt", "VersionData": TEXT, **more}
    response = site.post("sobjects/ContentVersion", body)
    assert response.status_code == 201, response.text
    return response.json()["id"]


def one(site, soql):
    [row] = site.query(soql).json()["records"]
    return row


def test_a_file_is_one_call_with_its_link(site):
    version = upload(site, FirstPublishLocationId=ACCOUNT)
    row = site.get(f"sobjects/ContentVersion/{version}").json()
    assert (row["FileType"], row["FileExtension"], row["ContentSize"], row["VersionNumber"]) == ("TEXT", "txt", 5, "1")
    assert (row["Checksum"], row["IsLatest"]) == ("5d41402abc4b2a76b9719d911017c592", True)
    assert row["VersionData"] == f"/services/data/v66.0/sobjects/ContentVersion/{version}/VersionData"
    assert row["ContentDocumentId"].startswith("069")
    links = site.query(
        f"SELECT ContentDocumentId, ContentDocument.Title, ShareType, LinkedEntity.Name FROM ContentDocumentLink "
        f"WHERE LinkedEntityId = '{ACCOUNT}'"
    ).json()["records"]
    assert [(link["ShareType"], link["ContentDocument"]["Title"], link["LinkedEntity"]["Name"]) for link in links] == [
        ("V", "Greeting", "Acme")]  # fmt: skip


def test_bytes_come_back_as_they_were(site):
    data = bytes(range(256)) * 10
    version = upload(site, PathOnClient="x.bin", VersionData=base64.b64encode(data).decode())
    response = site.http.get(site.get(f"sobjects/ContentVersion/{version}").json()["VersionData"])
    assert (response.status_code, response.content) == (200, data)
    assert response.headers["Content-Type"] == "application/octetstream"
    assert one(site, "SELECT VersionData, Title FROM ContentVersion")["VersionData"].endswith("/VersionData")
    assert site.get("sobjects/ContentVersion/068000000000009AAA/VersionData").status_code == 404
    url = f"/services/data/v66.0/sobjects/ContentVersion/{version}/VersionData"
    assert site.composite({"url": url})[0]["httpStatusCode"] == 400


def parts(entity, name="entity_content", blob="VersionData"):
    head = [
        (f'Content-Disposition: form-data; name="{name}"\r\nContent-Type: application/json\r\n\r\n', json.dumps(entity).encode()),
        (f'Content-Disposition: form-data; name="{blob}"; filename="a b.bin"\r\nContent-Type: x/y\r\n\r\n', b"\x00\r\n--\xff"),
    ]  # fmt: skip
    return b"".join(b"--mark\r\n" + start.encode() + data + b"\r\n" for start, data in head) + b"--mark--\r\n"


def test_a_file_comes_as_parts_too(site):
    headers = {"Content-Type": 'multipart/form-data; boundary="mark"'}
    body = parts({"PathOnClient": "a b.bin", "ReasonForChange": "new"})
    made = site.http.post("/services/data/v66.0/sobjects/ContentVersion", content=body, headers=headers)
    assert made.status_code == 201, made.text
    row = site.get(f"sobjects/ContentVersion/{made.json()['id']}").json()
    assert (row["Title"], row["ContentSize"]) == ("a b", 6)
    assert site.http.get(row["VersionData"]).content == b"\x00\r\n--\xff"
    body = parts({"Name": "a.bin", "ParentId": ACCOUNT}, "entity_attachment", "Body")
    made = site.http.post("/services/data/v66.0/sobjects/Attachment", content=body, headers=headers)
    row = site.get(f"sobjects/Attachment/{made.json()['id']}").json()
    assert (row["BodyLength"], site.http.get(row["Body"]).content) == (6, b"\x00\r\n--\xff")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", parts({})),
        ("multipart/form-data; boundary=other", parts({})),
        ("multipart/form-data; boundary=mark", b""),
        ("multipart/form-data; boundary=mark", b"--mark\r\n\r\nx\r\n--mark--"),
        ("multipart/form-data; boundary=mark", parts([])),
        ("multipart/form-data; boundary=mark", parts({}, name="something")),
        ("multipart/form-data; boundary=mark", parts({}).replace(b"{}", b"{")),
    ],
)
def test_broken_parts_are_refused(site, kind, body):
    headers = {"Content-Type": kind}
    response = site.http.post("/services/data/v66.0/sobjects/ContentVersion", content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert response.json()[0]["errorCode"] in ("INVALID_MULTIPART_REQUEST", "JSON_PARSER_ERROR")


def test_a_second_version_is_the_latest(site):
    first = upload(site)
    document = site.get(f"sobjects/ContentVersion/{first}").json()["ContentDocumentId"]
    second = upload(site, ContentDocumentId=document, PathOnClient="b.pdf", Title="New")
    found = site.query("SELECT Id, IsLatest, VersionNumber FROM ContentVersion ORDER BY VersionNumber").json()[
        "records"
    ]
    assert [(row["Id"], row["IsLatest"]) for row in found] == [(first, False), (second, True)]
    row = site.get(f"sobjects/ContentDocument/{document}").json()
    assert (row["Title"], row["FileType"], row["LatestPublishedVersionId"]) == ("New", "PDF", second)


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("ContentVersion", {"Title": "x", "VersionData": TEXT}, "REQUIRED_FIELD_MISSING"),
        ("ContentVersion", {"PathOnClient": "x"}, "REQUIRED_FIELD_MISSING"),
        ("ContentVersion", {"PathOnClient": "x", "VersionData": "not base64!"}, "JSON_PARSER_ERROR"),
        ("ContentVersion", {"PathOnClient": "x", "VersionData": TEXT, "FirstPublishLocationId": "001000000000009"},
         "INVALID_CROSS_REFERENCE_KEY"),
        ("ContentDocument", {"Title": "x"}, "INVALID_TYPE_FOR_OPERATION"),
        ("ContentDocumentLink", {"LinkedEntityId": ACCOUNT}, "REQUIRED_FIELD_MISSING"),
        ("ContentNote", {}, "REQUIRED_FIELD_MISSING"),
        ("Attachment", {"Name": "x", "Body": TEXT}, "REQUIRED_FIELD_MISSING"),
    ],
)  # fmt: skip
def test_a_file_needs_what_it_needs(site, name, body, code):
    response = site.post(f"sobjects/{name}", body)
    assert (response.status_code, response.json()[0]["errorCode"]) == (400, code)


def test_a_document_is_linked_once(site):
    version = upload(site)
    document = site.get(f"sobjects/ContentVersion/{version}").json()["ContentDocumentId"]
    link = {"ContentDocumentId": document, "LinkedEntityId": ACCOUNT, "ShareType": "V", "Visibility": "AllUsers"}
    made = site.post("sobjects/ContentDocumentLink", link)
    assert made.status_code == 201
    assert site.post("sobjects/ContentDocumentLink", link).json()[0]["errorCode"] == "DUPLICATE_VALUE"
    assert site.delete(f"sobjects/ContentDocument/{document}").status_code == 204
    assert site.get(f"sobjects/ContentDocumentLink/{made.json()['id']}").status_code == 404
    assert site.get(f"sobjects/ContentVersion/{version}/VersionData").status_code == 404


def test_links_are_found_by_what_they_link_only(site):
    upload(site, FirstPublishLocationId=ACCOUNT)
    start = "SELECT Id FROM ContentDocumentLink"
    found = [
        f"WHERE LinkedEntityId IN ('{ACCOUNT}') AND ShareType = 'V'",
        "WHERE (ContentDocumentId = '069Sb0000000001IAA' AND ShareType = 'V')",
        "WHERE LinkedEntityId IN (SELECT Id FROM Account)",
    ]
    assert [site.query(f"{start} {where}").json()["totalSize"] for where in found] == [1, 1, 1]
    for where in ("", "WHERE ShareType = 'V'", f"WHERE LinkedEntityId = '{ACCOUNT}' OR ShareType = 'V'",
                  f"WHERE LinkedEntityId != '{ACCOUNT}'", f"WHERE (NOT LinkedEntityId = '{ACCOUNT}')"):  # fmt: skip
        [error] = site.query(f"{start} {where}").json()
        assert error["message"].startswith("Implementation restriction: ContentDocumentLink requires a filter")
    assert one(site, "SELECT (SELECT ShareType FROM ContentDocumentLinks) FROM Account")["ContentDocumentLinks"]


def test_a_note_is_a_file_without_scripts(site):
    content = base64.b64encode(b"<p>Tom &amp; Ann</p><script>alert(1)</script>").decode()
    made = site.post("sobjects/ContentNote", {"Title": "Call", "Content": content}).json()["id"]
    assert made.startswith("069")
    row = site.get(f"sobjects/ContentNote/{made}").json()
    assert (row["FileType"], row["TextPreview"].strip()) == ("SNOTE", "Tom & Ann")
    assert site.http.get(row["Content"]).content == b"<p>Tom &amp; Ann</p>"
    assert one(site, f"SELECT Title FROM ContentDocument WHERE Id = '{made}'")["Title"] == "Call"
    link = {"ContentDocumentId": made, "LinkedEntityId": ACCOUNT, "ShareType": "V"}
    assert site.post("sobjects/ContentDocumentLink", link).status_code == 201


def test_a_note_and_a_task_hang_on_a_record(site):
    assert site.post("sobjects/Note", {"ParentId": ACCOUNT, "Title": "t", "Body": "b"}).status_code == 201
    task = {"Subject": "Call", "ActivityDate": "2025-03-13", "WhatId": ACCOUNT, "Status": "Completed"}
    assert site.post("sobjects/Task", task).status_code == 201
    row = one(site, "SELECT (SELECT Title FROM Notes), (SELECT Subject, What.Type FROM Tasks) FROM Account")
    assert row["Notes"]["records"][0]["Title"] == "t"
    assert row["Tasks"]["records"][0]["What"]["Type"] == "Account"


def test_a_fixture_may_hold_bytes(site):
    [version] = site.org.load([{"object": "ContentVersion", "Title": "x", "PathOnClient": "x", "VersionData": TEXT}])
    assert site.get(f"sobjects/ContentVersion/{version}/VersionData").content == b"hello"
