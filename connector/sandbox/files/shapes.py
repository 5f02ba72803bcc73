"""The objects of files and notes, which every org has. [U] which fields they have: the useful ones, from common knowledge.

A line: name, type and length, flags (c created with, u updated, n may be null, d filled in by the org), the object referred to
and the relationship. An object whose shape was given to the org is taken as given.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_SYSTEM = """
Id id:18 d
IsDeleted boolean d
CreatedDate datetime d
CreatedById reference:18 d User CreatedBy
LastModifiedDate datetime d
LastModifiedById reference:18 d User LastModifiedBy
SystemModstamp datetime d
"""

_FILE = """
Title string:255 cun
Description textarea:1000 cun
FileType string:20 n
FileExtension string:40 n
ContentSize int n
OwnerId reference:18 cud User Owner
"""

# name -> (key prefix, label, plural, fields)
_OBJECTS = {
    "ContentDocument": ("069", "Content Document", "Content Documents", _SYSTEM + _FILE + """
LatestPublishedVersionId reference:18 n ContentVersion LatestPublishedVersion
ParentId reference:18 un * Parent
PublishStatus picklist:40 d
SharingOption picklist:40 cud
ContentModifiedDate datetime n
"""),
    "ContentVersion": ("068", "Content Version", "Content Versions", _SYSTEM + _FILE + """
ContentDocumentId reference:18 c ContentDocument ContentDocument
IsLatest boolean d
VersionNumber string:20 n
ReasonForChange string:1000 cun
PathOnClient string:500 c
Checksum string:50 n
VersionData base64 cn
FirstPublishLocationId reference:18 cn * FirstPublishLocation
Origin picklist:40 cd
ContentLocation picklist:40 cd
SharingOption picklist:40 cud
ContentModifiedDate datetime n
ExternalDocumentInfo1 string:1000 cun
"""),
    "ContentDocumentLink": ("06A", "Content Document Link", "Content Document Links", """
Id id:18 d
LinkedEntityId reference:18 c * LinkedEntity
ContentDocumentId reference:18 c ContentDocument ContentDocument
IsDeleted boolean d
SystemModstamp datetime d
ShareType picklist:40 cud
Visibility picklist:40 cud
"""),
    "ContentNote": ("069", "Note", "Notes", _SYSTEM + """
Title string:255 cu
Content base64 cun
TextPreview string:255 n
FileType string:20 n
FileExtension string:40 n
ContentSize int n
OwnerId reference:18 cud User Owner
LatestPublishedVersionId reference:18 n ContentVersion LatestPublishedVersion
ContentModifiedDate datetime n
IsReadOnly boolean d
SharingPrivacy picklist:40 cud
"""),
    "Attachment": ("00P", "Attachment", "Attachments", _SYSTEM + """
ParentId reference:18 c * Parent
Name string:255 cu
IsPrivate boolean cud
ContentType string:120 cun
BodyLength int n
Body base64 cu
OwnerId reference:18 cud User Owner
Description string:500 cun
"""),
}  # fmt: skip
_CHOICES = {
    "PublishStatus": ("P", "U"),
    "SharingOption": ("A", "R"),
    "Origin": ("C", "H"),
    "ContentLocation": ("S", "E"),
    "ShareType": ("V", "C", "I"),
    "Visibility": ("AllUsers", "InternalUsers", "SharedUsers"),
    "SharingPrivacy": ("N", "P"),
}
_CHILDREN = {
    "ContentDocument": (("ContentVersion", "ContentDocumentId", "ContentVersions"), ("ContentDocumentLink", "ContentDocumentId", "ContentDocumentLinks"))
}  # fmt: skip
_NOT_CREATED = {"ContentDocument"}
_SOAP = {"id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int", "datetime": "xsd:dateTime",
         "base64": "xsd:base64Binary"}  # fmt: skip


def with_files(shapes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The shapes and those of files, except for the ones that are there."""
    own = list(shapes)
    known = {shape["name"] for shape in own}
    every = [*known, *(name for name in _OBJECTS if name not in known)]
    return [*own, *(_shape(name, every) for name in _OBJECTS if name not in known)]


def _shape(name: str, every: Sequence[str]) -> dict[str, Any]:
    prefix, label, plural, lines = _OBJECTS[name]
    return {
        "name": name,
        "label": label,
        "labelPlural": plural,
        "keyPrefix": prefix,
        "createable": name not in _NOT_CREATED,
        "assumed": True,
        "fields": list(_fields(lines, every)),
        "childRelationships": [
            {"childSObject": child, "field": field, "relationshipName": relation, "cascadeDelete": True}
            for child, field, relation in _CHILDREN.get(name, ())
        ],
    }


def _fields(lines: str, every: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in filter(None, lines.splitlines()):
        name, type_, flags, target, relation = [*line.split(), None, None][:5]
        kind, _, length = (type_ or "").partition(":")
        entries = [
            {"active": True, "defaultValue": place == 0, "label": value, "value": value}
            for place, value in enumerate(_CHOICES.get(name or "", ()))
        ]
        usable = kind != "base64"
        yield {
            "name": name,
            "label": name,
            "type": kind,
            "length": int(length or 0),
            "soapType": _SOAP.get(kind, "xsd:string"),
            "createable": "c" in (flags or ""),
            "updateable": "u" in (flags or ""),
            "nillable": "n" in (flags or ""),
            "defaultedOnCreate": "d" in (flags or ""),
            "filterable": usable,
            "sortable": usable,
            "referenceTo": [] if target is None else sorted(every) if target == "*" else [target],
            "relationshipName": relation,
            "picklistValues": entries,
            "nameField": name in ("Title", "Name"),
        }
