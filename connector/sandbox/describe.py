"""A shape -> the answer of describe, with every key a real org sends; the shape's own keys win over the defaults.

Key names are those of the official DescribeSObjectResult [U: names from the reference]; clients index them blindly.
"""

import re
from collections.abc import Mapping
from typing import Any

from connector.sandbox.metadata import recordtypes
from connector.sandbox.schema import COMPOUND, TEXT, Field, Object, Schema

_FIELD: dict[str, Any] = {
    "aggregatable": False,
    "aiPredictionField": False,
    "autoNumber": False,
    "byteLength": 0,
    "calculated": False,
    "calculatedFormula": None,
    "cascadeDelete": False,
    "caseSensitive": False,
    "compoundFieldName": None,
    "controllerName": None,
    "createable": False,
    "custom": False,
    "defaultValue": None,
    "defaultValueFormula": None,
    "defaultedOnCreate": False,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "digits": 0,
    "displayLocationInDecimal": False,
    "encrypted": False,
    "externalId": False,
    "extraTypeInfo": None,
    "filterable": False,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "groupable": False,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "idLookup": False,
    "inlineHelpText": None,
    "label": None,
    "length": 0,
    "mask": None,
    "maskType": None,
    "name": None,
    "nameField": False,
    "namePointing": False,
    "nillable": False,
    "permissionable": False,
    "picklistValues": [],
    "polymorphicForeignKey": False,
    "precision": 0,
    "queryByDistance": False,
    "referenceTargetField": None,
    "referenceTo": [],
    "relationshipName": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "restrictedPicklist": False,
    "scale": 0,
    "searchPrefilterable": False,
    "soapType": "xsd:string",
    "sortable": False,
    "type": None,
    "unique": False,
    "updateable": False,
    "writeRequiresMasterRead": False,
}

_PICKLIST_ENTRY: dict[str, Any] = {
    "active": True,
    "defaultValue": False,
    "label": None,
    "validFor": None,
    "value": None,
}

_CHILD: dict[str, Any] = {
    "cascadeDelete": False,
    "childSObject": None,
    "deprecatedAndHidden": False,
    "field": None,
    "junctionIdListNames": [],
    "junctionReferenceTo": [],
    "relationshipName": None,
    "restrictedDelete": False,
}

_GLOBAL: dict[str, Any] = {
    "activateable": False,
    "associateEntityType": None,
    "associateParentEntity": None,
    "createable": True,
    "custom": False,
    "customSetting": False,
    "deepCloneable": False,
    "deletable": True,
    "deprecatedAndHidden": False,
    "feedEnabled": False,
    "hasSubtypes": False,
    "isInterface": False,
    "isSubtype": False,
    "keyPrefix": None,
    "label": None,
    "labelPlural": None,
    "layoutable": True,
    "mergeable": False,
    "mruEnabled": True,
    "name": None,
    "queryable": True,
    "replicateable": True,
    "retrieveable": True,
    "searchable": True,
    "triggerable": True,
    "undeletable": True,
    "updateable": True,
    "urls": {},
}

_OBJECT: dict[str, Any] = {
    "actionOverrides": [],
    **_GLOBAL,
    "childRelationships": [],
    "compactLayoutable": True,
    "defaultImplementation": None,
    "extendedBy": None,
    "extendsInterfaces": None,
    "fields": [],
    "implementedBy": None,
    "implementsInterfaces": None,
    "listviewable": None,
    "lookupLayoutable": None,
    "namedLayoutInfos": [],
    "networkScopeFieldName": None,
    "recordTypeInfos": [],
    "searchLayoutable": True,
    "sobjectDescribeOption": "FULL",
    "supportedScopes": [{"label": "All records", "name": "everything"}],
}

_MERGEABLE = frozenset({"Account", "Contact", "Lead"})
_OURS = {"about", "assumed", "initial", "recordTypes"}  # keys of the shape files that no org sends


def describe(shape: Object, version: str) -> dict[str, Any]:
    raw = shape.raw
    own = {key: value for key, value in raw.items() if key not in _OURS}
    return _sorted(
        {
            **_OBJECT,
            **_summary(shape, version),
            **own,
            "custom": shape.custom,
            "fields": [_field(field) for field in shape.fields],
            "childRelationships": [_filled(_CHILD, child) for child in raw.get("childRelationships", ())],
            "recordTypeInfos": [
                _record_type(shape, version, info) for info in raw.get("recordTypeInfos") or [recordtypes.master()]
            ],
            "urls": _urls(shape, version),
        }
    )


def describe_global(schema: Schema, version: str) -> dict[str, Any]:
    summaries = [_sorted({**_GLOBAL, **_summary(shape, version)}) for shape in _by_name(schema)]
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": summaries}


def summary(shape: Object, version: str) -> dict[str, Any]:
    """The objectDescribe of GET /sobjects/X."""
    return _sorted({**_GLOBAL, **_summary(shape, version)})


def _by_name(schema: Schema) -> list[Object]:
    return sorted(schema.objects.values(), key=lambda shape: shape.name)


def _summary(shape: Object, version: str) -> dict[str, Any]:
    own = {key: value for key, value in shape.raw.items() if key in _GLOBAL}
    return {
        "deletable": shape.deletable,
        "undeletable": shape.deletable,
        "replicateable": shape.deletable,
        "mergeable": shape.name in _MERGEABLE,
        "labelPlural": _plural(shape.label),
        **own,
        "custom": shape.custom,
        "keyPrefix": shape.prefix or None,
        "label": shape.label,
        "name": shape.name,
        "urls": {
            key: url for key, url in _urls(shape, version).items() if key in ("describe", "rowTemplate", "sobject")
        },
    }


def _urls(shape: Object, version: str) -> dict[str, str]:
    base = f"/services/data/v{version}/sobjects/{shape.name}"
    return {
        "compactLayouts": f"{base}/describe/compactLayouts",
        "rowTemplate": f"{base}/{{ID}}",
        "approvalLayouts": f"{base}/describe/approvalLayouts",
        "describe": f"{base}/describe",
        "quickActions": f"{base}/quickActions",
        "layouts": f"{base}/describe/layouts",
        "sobject": base,
    }


def _record_type(shape: Object, version: str, info: Mapping[str, Any]) -> dict[str, Any]:
    layout = f"/services/data/v{version}/sobjects/{shape.name}/describe/layouts/{info['recordTypeId']}"
    return {**info, "urls": {"layout": layout}}


def _field(field: Field) -> dict[str, Any]:
    raw = field.raw
    short_text = field.type in TEXT and not field.long_text and field.type != "multipicklist"
    derived = {
        "aggregatable": field.filterable and field.type not in COMPOUND and field.type != "boolean",
        "custom": field.custom,
        "defaultValue": False if field.type == "boolean" else None,
        "groupable": short_text or field.type in ("id", "reference", "boolean", "date", "int"),
        "namePointing": len(field.reference_to) > 1,
        "permissionable": field.nillable and field.type != "id",
        "polymorphicForeignKey": len(field.reference_to) > 1,
    }
    own = {key: value for key, value in raw.items() if key not in _OURS}
    entries = [_filled(_PICKLIST_ENTRY, entry) for entry in raw.get("picklistValues", ())]
    return _sorted({**_FIELD, **derived, **own, "picklistValues": entries})


def _filled(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return _sorted({**defaults, **{key: value for key, value in own.items() if key in defaults}})


def _sorted(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in sorted(result)}


def _plural(label: str) -> str:
    # English is enough here: shapes of real objects carry their own labelPlural.
    return re.sub(r"y$", "ie", label) + "s"
