"""/ui-api/object-info/X/picklist-values/RECORD_TYPE[/FIELD]: picklists as a record type offers them.

`validFor` is a list of indices here, into `controllerValues`: the positions of describe's bitmap. Other resources of the UI API
answer 501.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.sandbox import ids
from connector.sandbox.calls import Call, Reply, reply
from connector.sandbox.errors import ApiError, not_found
from connector.sandbox.metadata import picklists, recordtypes
from connector.sandbox.org import Org
from connector.sandbox.resources import known
from connector.sandbox.schema import Field, Object

Entry = Mapping[str, Any]


def every_field(org: Org, call: Call, name: str, record_type: str) -> Reply:
    shape = known(org, name)
    kind = _record_type(shape, record_type)
    found = {
        field.name: _values(call, shape, field, kind)
        for field in sorted(shape.fields, key=lambda field: field.name)
        if field.type in picklists.PICKLISTS
    }
    return reply(200, {"picklistFieldValues": found})


def one_field(org: Org, call: Call, name: str, record_type: str, field_name: str) -> Reply:
    shape = known(org, name)
    kind = _record_type(shape, record_type)
    field = shape.field(field_name)
    if field is None or field.type not in picklists.PICKLISTS:
        message = f"{field_name} is not a picklist of {shape.name}"  # [U] status, code and sentence
        raise ApiError(400, "INVALID_FIELD", message)
    return reply(200, _values(call, shape, field, kind))


def _record_type(shape: Object, text: str) -> recordtypes.RecordType | None:
    """None is the master one: nothing is left out."""
    found = ids.canonical(text)
    if found == recordtypes.MASTER:
        return None
    kind = next((each for each in recordtypes.of(shape.raw) if each.id == found), None)
    if kind is None:
        raise not_found()  # [U]
    return kind


def _values(call: Call, shape: Object, field: Field, kind: recordtypes.RecordType | None) -> dict[str, Any]:
    entries = [_shown(entry) for entry in _offered(field, kind)]
    wanted = _default(field, kind)
    return {
        "controllerValues": _controllers(shape, field),
        "defaultValue": next((entry for entry in entries if entry["value"] == wanted), None),
        "url": f"{call.base}/ui-api/object-info/{shape.name}/picklist-values/"
        f"{kind.id if kind else recordtypes.MASTER}/{field.name}",
        "values": entries,
    }


def _offered(field: Field, kind: recordtypes.RecordType | None) -> Sequence[Entry]:
    listed = [entry for entry in field.raw.get("picklistValues", ()) if entry.get("active", True)]
    own = kind.picklists.get(field.name.lower()) if kind else None
    return listed if own is None else [entry for entry in listed if entry["value"] in own]


def _default(field: Field, kind: recordtypes.RecordType | None) -> str | None:
    own = kind.defaults.get(field.name.lower()) if kind else None
    marked = (entry["value"] for entry in field.raw.get("picklistValues", ()) if entry.get("defaultValue"))
    return own if own is not None else next(marked, None)


def _shown(entry: Entry) -> dict[str, Any]:
    bits = entry.get("validFor")
    return {
        "attributes": None,
        "label": entry.get("label") or entry["value"],
        "validFor": picklists.indices(bits) if bits else [],
        "value": entry["value"],
    }


def _controllers(shape: Object, field: Field) -> dict[str, int]:
    controller = shape.field(field.raw.get("controllerName") or "")
    if controller is None:  # none, or hidden from the user
        return {}
    return {value: place for place, value in enumerate(picklists.controlling(controller.raw))}
