"""What an org's own set-up demands of writes, per object and off unless asked for.

rules(shape, ["required", "unique"],
      validations=[{"condition": "AnnualRevenue < `0`", "message": "No debts", "field": "AnnualRevenue"}],
      duplicates=[{"fields": ["Name", "Phone"], "allow": True}])
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from connector.sandbox.errors import ApiError
from connector.sandbox.schema import NUMBER, STORED, TEXT, Field, Object

WORDS = frozenset({"required", "length", "picklist", "unique"})
Row = Mapping[str, str | None]
Matching = Callable[[Field, str], list[str]]  # ids of the live rows whose field has this value


@dataclass(frozen=True)
class Validation:
    """The condition describes the mistake, as in Salesforce: where it holds, the write is refused."""

    condition: ParsedResult
    message: str
    field: str | None


@dataclass(frozen=True)
class Duplicate:
    fields: tuple[Field, ...]
    allow: bool  # saved all the same if the client asks for it
    message: str
    ids: bool  # whether the refusal names the rows
    name: str


@dataclass(frozen=True)
class Rules:
    words: frozenset[str] = frozenset()
    validations: tuple[Validation, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()


OFF = Rules()


@dataclass(frozen=True)
class Write:
    """A row about to be written: what the client gave, and what will stand there."""

    shape: Object
    id: str | None  # None: it is being created
    given: Row
    whole: Row
    allow_duplicates: bool

    @property
    def creating(self) -> bool:
        return self.id is None


# -- reading them


def rules(
    shape: Object,
    words: Iterable[str],
    validations: Iterable[Mapping[str, Any]] = (),
    duplicates: Iterable[Mapping[str, Any]] = (),
) -> Rules:
    """Raises ValueError that says what is wrong."""
    known = frozenset(words)
    if known - WORDS:
        raise ValueError(f"no rule {', '.join(sorted(known - WORDS))}: the org knows {', '.join(sorted(WORDS))}")
    return Rules(
        known,
        tuple(_validation(shape, given) for given in _mappings(validations, {"condition", "message", "field"})),
        tuple(
            _duplicate(shape, given) for given in _mappings(duplicates, {"fields", "allow", "message", "ids", "name"})
        ),
    )


def _mappings(listed: Iterable[Mapping[str, Any]], keys: set[str]) -> list[Mapping[str, Any]]:
    if not isinstance(listed, list | tuple) or not all(isinstance(each, Mapping) for each in listed):
        raise ValueError(f"validations and duplicates are lists of mappings of {', '.join(sorted(keys))}")
    for each in listed:
        if each.keys() - keys:
            wrong = ", ".join(sorted(map(str, each.keys() - keys)))
            raise ValueError(f"a rule has no {wrong}: {', '.join(sorted(keys))}")
    return list(listed)


def _validation(shape: Object, given: Mapping[str, Any]) -> Validation:
    condition, message = given.get("condition"), given.get("message")
    if not isinstance(condition, str) or not isinstance(message, str):
        raise ValueError("a validation rule needs a condition and a message")  # noqa: TRY004  one kind of error
    try:
        compiled = jmespath.compile(condition)
    except JMESPathError as wrong:
        raise ValueError(f"{condition!r} is not a JMESPath condition: {wrong}") from None
    name = given.get("field")
    return Validation(compiled, message, None if name is None else _field(shape, name).name)


def _duplicate(shape: Object, given: Mapping[str, Any]) -> Duplicate:
    names = given.get("fields")
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("a duplicate rule needs a list of fields")
    allow, listed = given.get("allow", True), given.get("ids", False)
    if not isinstance(allow, bool) or not isinstance(listed, bool):
        raise ValueError("allow and ids of a duplicate rule are true or false")  # noqa: TRY004
    message = given.get("message", "Use one of these records?")
    name = given.get("name", f"{shape.name}_Duplicate_Rule")
    return Duplicate(tuple(_field(shape, each) for each in names), allow, str(message), listed, str(name))


def _field(shape: Object, name: object) -> Field:
    found = shape.field(name) if isinstance(name, str) else None
    if found is None or found.type not in STORED:
        raise ValueError(f"{shape.name} has no field {name!r}")
    return found


# -- checking a write


def check(own: Rules, write: Write, matching: Matching) -> None:
    for word, demand in _DEMANDS.items():
        if word in own.words:
            demand(write, matching)
    for validation in own.validations:
        _validate(validation, write)
    if not write.allow_duplicates or not all(rule.allow for rule in own.duplicates):
        for rule in own.duplicates:
            _check_duplicates(rule, write, matching)


def _required(write: Write, _: Matching) -> None:
    missing = tuple(
        field.name
        for field in write.shape.fields
        if _is_required(field, write.creating)
        and (write.creating or field.name in write.given)
        and write.whole.get(field.name) is None
    )
    if missing:
        message = f"Required fields are missing: [{', '.join(missing)}]"
        raise ApiError(400, "REQUIRED_FIELD_MISSING", message, missing)


def _is_required(field: Field, creating: bool) -> bool:
    writable = field.createable if creating else field.updateable
    return not field.nillable and not field.defaulted and writable and field.type != "boolean"


def _length(write: Write, _: Matching) -> None:
    for field, value in _texts(write):
        if field.length and len(value) > field.length:
            message = f"{field.label}: data value too large: {value} (max length={field.length})"
            raise ApiError(400, "STRING_TOO_LONG", message, (field.name,))


def _picklist(write: Write, _: Matching) -> None:
    for field, value in _texts(write):
        chosen = set(value.split(";")) if field.type == "multipicklist" else {value}
        if field.restricted and not chosen <= set(field.picklist):
            message = f"{field.label}: bad value for restricted picklist field: {value}"
            raise ApiError(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, (field.name,))


def _texts(write: Write) -> list[tuple[Field, str]]:
    named = ((write.shape.by_name[name.lower()], value) for name, value in write.given.items())
    return [(field, value) for field, value in named if value is not None and field.type in TEXT]


def _unique(write: Write, matching: Matching) -> None:
    for field in write.shape.stored:
        value = write.given.get(field.name)
        if value is None or not field.raw.get("unique"):
            continue
        other = next((found for found in matching(field, value) if found != write.id), None)
        if other is not None:
            message = f"duplicate value found: {field.name} duplicates value on record with id: {other}"
            raise ApiError(400, "DUPLICATE_VALUE", message, ())


def _validate(validation: Validation, write: Write) -> None:
    record = {field.name: _typed(field, write.whole.get(field.name)) for field in write.shape.stored}
    fields = () if validation.field is None else (validation.field,)
    try:
        wrong = validation.condition.search(record)
    except JMESPathError as failed:
        # As in Salesforce a rule that cannot be evaluated refuses the write; [U] code and sentence.
        message = f"The formula in a validation rule of {write.shape.name} is invalid: {failed}"
        raise ApiError(400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", message, fields) from None
    if wrong is True:
        raise ApiError(400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", validation.message, fields)


def _typed(field: Field, stored: str | None) -> Any:
    return json.loads(stored) if stored is not None and (field.type in NUMBER or field.type == "boolean") else stored


def _check_duplicates(rule: Duplicate, write: Write, matching: Matching) -> None:
    if rule.allow and write.allow_duplicates:
        return
    if not write.creating and not any(field.name in write.given for field in rule.fields):
        return
    values = [write.whole.get(field.name) for field in rule.fields]
    if any(value is None for value in values):
        return  # [U] a blank matches nothing
    found = [set(matching(field, value)) for field, value in zip(rule.fields, values, strict=True) if value is not None]
    same = sorted(set.intersection(*found) - {write.id})
    if same:
        more = {"duplicateResult": _result(rule, write.shape, same)} if rule.ids else {}
        raise ApiError(400, "DUPLICATES_DETECTED", rule.message, (), more=more)


def _result(rule: Duplicate, shape: Object, same: list[str]) -> dict[str, Any]:
    """[U] The documented fields of a DuplicateResult; how REST nests them was not seen."""
    return {
        "allowSave": rule.allow,
        "duplicateRule": rule.name,
        "duplicateRuleEntityType": shape.name,
        "errorMessage": rule.message,
        "matchResults": [
            {
                "entityType": shape.name,
                "errors": [],
                "matchEngine": "ExactMatchEngine",
                "matchRecords": [
                    {
                        "additionalInformation": [],
                        "fieldDiffs": [],
                        "matchConfidence": 100.0,
                        "record": {"attributes": {"type": shape.name}, "Id": id18},
                    }
                    for id18 in same
                ],
                "rule": rule.name,
                "size": len(same),
                "success": True,
            }
        ],
    }


_DEMANDS: Mapping[str, Callable[[Write, Matching], None]] = {
    "required": _required,
    "length": _length,
    "picklist": _picklist,
    "unique": _unique,
}
