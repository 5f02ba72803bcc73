"""Dependent picklists: the controlling values that a shape names -> the trimmed bitmap of describe, and back to indices.

In a shape `validFor` is a bitmap as describe has it, or a list of controlling values: `{value: Detroit, validFor: [US]}`; of a
checkbox `[true]`. Bit i, most significant first, stands for the i-th entry of the controller, inactive ones included.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

PICKLISTS = frozenset({"picklist", "multipicklist"})
_CONTROLLERS = PICKLISTS | {"boolean", "combobox"}
_GROUP = 3  # recorded bitmaps are whole groups of three bytes (AAAAAgAA): BASE64 without padding


def completed(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The shape with bitmaps; raises ValueError where a dependent picklist does not fit its controller."""
    fields = {str(field.get("name", "")).lower(): field for field in shape.get("fields", ())}
    return {**shape, "fields": [_field(shape, field, fields) for field in shape.get("fields", ())]}


def _field(shape: Mapping[str, Any], field: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    name = field.get("controllerName")
    if not name:
        return field
    controller = fields.get(str(name).lower())
    place = f"{shape['name']}.{field['name']}"
    if controller is None or controller["type"] not in _CONTROLLERS:
        raise ValueError(f"{place}: {name} is no picklist and no checkbox that could control it")
    keys = controlling(controller)
    entries = [
        {**entry, "validFor": _valid_for(entry.get("validFor"), keys, place)}
        for entry in field.get("picklistValues", ())
    ]
    return {**field, "controllerName": controller["name"], "dependentPicklist": True, "picklistValues": entries}


def controlling(controller: Mapping[str, Any]) -> list[str]:
    """What the bits stand for, in order."""
    if controller["type"] == "boolean":
        return ["false", "true"]
    return [str(entry["value"]) for entry in controller.get("picklistValues", ())]


def _valid_for(given: Any, keys: Sequence[str], place: str) -> str:
    if isinstance(given, str):
        indices(given)
        return given
    if given is None:
        return bitmap(())
    if not isinstance(given, list):
        raise ValueError(f"{place}: validFor is a list of controlling values, or a bitmap")  # noqa: TRY004
    words = [str(each).lower() if isinstance(each, bool) else str(each) for each in given]
    unknown = [word for word in words if word not in keys]
    if unknown:
        raise ValueError(f"{place}: the controller has no value {', '.join(unknown)}")
    return bitmap([keys.index(word) for word in words])


def bitmap(places: Sequence[int]) -> str:
    """Trimmed: what lies behind the last value that is valid is left out."""
    length = max(places, default=0) // 8 + 1
    found = bytearray(-(-length // _GROUP) * _GROUP)
    for place in places:
        found[place >> 3] |= 0x80 >> (place & 7)
    return base64.b64encode(found).decode()


def indices(text: str) -> list[int]:
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"validFor {text!r} is not a bitmap in BASE64") from None
    return [place for place in range(len(found) * 8) if found[place >> 3] & (0x80 >> (place & 7))]
