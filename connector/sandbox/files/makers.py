"""What creating a file, a note, a link or an attachment brings with it. [U] the sentences, and the links made besides."""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from connector.sandbox import values
from connector.sandbox.errors import ApiError
from connector.sandbox.records import Maker, Records
from connector.sandbox.schema import Object
from connector.sandbox.store import Row

_KINDS = {"pdf": "PDF", "txt": "TEXT", "csv": "CSV", "png": "PNG", "jpg": "JPG", "jpeg": "JPG", "gif": "GIF", "doc": "WORD",
          "docx": "WORD_X", "xls": "EXCEL", "xlsx": "EXCEL_X", "zip": "ZIP", "html": "HTML", "xml": "XML", "snote": "SNOTE"}  # fmt: skip
_UNSAFE = re.compile(r"<\s*(script|style|iframe|object)\b.*?<\s*/\s*\1\s*>", re.DOTALL | re.IGNORECASE)
_PREVIEW = 255


def content_version(records: Records, shape: Object, given: Mapping[str, Any], now: datetime) -> str:
    row = records.accepted(shape, given, creating=True)
    _needed(row, "PathOnClient", "VersionData")
    records.check_rules(shape, row)
    return _version(records, row, now)


def _version(records: Records, row: Row, now: datetime) -> str:
    """The version, the document if it is the first one, and the links to the owner and to where it was published."""
    data = base64.b64decode(row["VersionData"] or "")
    path = PurePosixPath((row["PathOnClient"] or "").replace("\\", "/"))
    ending = path.suffix.removeprefix(".").lower()
    moment = values.stamp(now)
    facts: Row = {
        "Title": row.get("Title") or path.stem,
        "FileType": _KINDS.get(ending, ending.upper() or "UNKNOWN"),
        "FileExtension": ending or None,
        "ContentSize": str(len(data)),
        "ContentModifiedDate": moment,
    }
    document, number = row.get("ContentDocumentId"), 1
    versions, documents = records.known("ContentVersion"), records.known("ContentDocument")
    if document:
        older = records.store.where(versions, {"ContentDocumentId": document})
        number += len(older)
        for each in older:
            records.store.update(versions, each, {"IsLatest": "false"})
        records.change(documents, document, facts, now)
    else:
        document = records.insert(documents, {**facts, "OwnerId": row.get("OwnerId") or records.user}, now)
        _link(records, document, row.get("OwnerId") or records.user, "I", now)
        place = row.get("FirstPublishLocationId")
        if place and not place.startswith("005"):
            _link(records, document, place, "V", now)
    made: Row = {**row, **facts, "ContentDocumentId": document, "IsLatest": "true", "VersionNumber": str(number)}
    made["Checksum"] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    version = records.insert(versions, made, now)
    records.store.update(documents, document, {"LatestPublishedVersionId": version})
    return version


def _link(records: Records, document: str, entity: str, share: str, now: datetime) -> None:
    row: Row = {"ContentDocumentId": document, "LinkedEntityId": entity, "ShareType": share}
    records.insert(records.known("ContentDocumentLink"), row, now)


def link(records: Records, shape: Object, given: Mapping[str, Any], now: datetime) -> str:
    row = records.accepted(shape, given, creating=True)
    _needed(row, "ContentDocumentId", "LinkedEntityId")
    wanted = {key: row[key] or "" for key in ("ContentDocumentId", "LinkedEntityId")}
    same = records.store.where(shape, {**wanted, "IsDeleted": "false"})
    if same:
        message = f"{wanted['LinkedEntityId']} is already linked to the document {wanted['ContentDocumentId']}"
        raise ApiError(400, "DUPLICATE_VALUE", message, ())
    records.check_rules(shape, row)
    return records.insert(shape, row, now)


def note(records: Records, shape: Object, given: Mapping[str, Any], now: datetime) -> str:
    """A note is a file of the type SNOTE; its id is that of the document."""
    row = records.accepted(shape, given, creating=True)
    _needed(row, "Title")
    records.check_rules(shape, row)
    text = _UNSAFE.sub("", base64.b64decode(row.get("Content") or "").decode("utf-8", "replace"))
    content = base64.b64encode(text.encode()).decode()
    file: Row = {"Title": row["Title"], "PathOnClient": f"{row['Title']}.snote", "VersionData": content}
    version = _version(records, {**file, "OwnerId": row.get("OwnerId")} if row.get("OwnerId") else file, now)
    made = records.store.get(records.known("ContentVersion"), version) or {}
    kept = ("FileType", "FileExtension", "ContentSize", "ContentModifiedDate")
    plain = html.unescape(re.sub(r"<[^>]*>", " ", text))[:_PREVIEW]
    whole: Row = {**row, **{key: made.get(key) for key in kept}, "Content": content, "TextPreview": plain or None}
    return records.insert(
        shape, {**whole, "Id": made.get("ContentDocumentId"), "LatestPublishedVersionId": version}, now
    )


def attachment(records: Records, shape: Object, given: Mapping[str, Any], now: datetime) -> str:
    row = records.accepted(shape, given, creating=True)
    _needed(row, "Name", "ParentId", "Body")
    records.check_rules(shape, row)
    size = len(base64.b64decode(row["Body"] or ""))
    return records.insert(shape, {**row, "BodyLength": str(size)}, now)


def refused(_records: Records, shape: Object, _given: Mapping[str, Any], _now: datetime) -> str:
    message = f"entity type cannot be inserted: {shape.label}"
    raise ApiError(400, "INVALID_TYPE_FOR_OPERATION", message, ())


def _needed(row: Row, *names: str) -> None:
    missing = tuple(name for name in names if row.get(name) is None)
    if missing:
        message = f"Required fields are missing: [{', '.join(missing)}]"
        raise ApiError(400, "REQUIRED_FIELD_MISSING", message, missing)


MAKERS: dict[str, Maker] = {
    "ContentVersion": content_version,
    "ContentDocument": refused,
    "ContentDocumentLink": link,
    "ContentNote": note,
    "Attachment": attachment,
}
