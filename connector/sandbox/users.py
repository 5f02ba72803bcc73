"""Who may sign in: a mapping from Python or YAML -> a user, with what is hidden from them.

    {username: ann@acme.example, password: secret, objects: {Lead: none}, fields: {Contact.Birthdate: none}}

Row-level sharing is not emulated: who sees an object sees all of its rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connector.sandbox import ids
from connector.sandbox.schema import Schema, words

ORG_ID = "00DSb0000000001MAA"
USER_ID = "005Sb0000000001IAA"
# What a user may do with an object: without a word all, with one this much of it.
OBJECT_ACCESS: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "read": frozenset({"read"}),
    "edit": frozenset({"read", "create", "edit"}),
    "all": frozenset({"read", "create", "edit", "delete"}),
}
FIELD_ACCESS = frozenset({"none", "read", "all"})
_ALWAYS_SEEN = words(
    "id isdeleted createddate createdbyid lastmodifieddate lastmodifiedbyid systemmodstamp name ownerid"
)


@dataclass(frozen=True)
class User:
    username: str
    id: str = ""
    password: str = ""
    security_token: str = ""  # appended to the password
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    time_zone: str = "GMT"
    locale: str = "en_US"
    language: str = "en_US"
    objects: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hard_delete: bool = False  # Bulk API Hard Delete

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.first_name, self.last_name) if part)

    def offset(self, now: datetime) -> int:
        """Milliseconds from UTC, without summer time."""
        local = now.astimezone(ZoneInfo(self.time_zone))
        apart = (local.utcoffset() or timedelta()) - (local.dst() or timedelta())
        return int(apart.total_seconds() * 1000)

    def row(self) -> dict[str, Any]:
        """The row of the User object that stands for it."""
        return {
            "Id": self.id,
            "Username": self.username,
            "FirstName": self.first_name or None,
            "LastName": self.last_name,
            "Email": self.email,
            "Alias": self.username[:5],
            "TimeZoneSidKey": self.time_zone,
            "LocaleSidKey": self.locale,
            "LanguageLocaleKey": self.language,
            "IsActive": True,
        }


# Every client without a user of its own runs as this one.
INTEGRATION = User(
    username="integration@sandbox.example",
    id=USER_ID,
    password="sandbox",  # noqa: S106  made to be known
    first_name="Integration",
    last_name="User",
    email="integration@sandbox.example",
)
_TEXTS = frozenset(User.__dataclass_fields__) - {"objects", "fields", "hard_delete"}


def user(given: Mapping[str, Any]) -> User:
    """Raises ValueError that says what is wrong with the mapping."""
    wrong = given.keys() - User.__dataclass_fields__.keys()
    if wrong:
        raise ValueError(f"a user has no {', '.join(sorted(map(str, wrong)))}: {', '.join(User.__dataclass_fields__)}")
    texts = {key: value for key, value in given.items() if key in _TEXTS}
    odd = next((key for key, value in texts.items() if not isinstance(value, str)), None)
    if odd is not None or not texts.get("username"):
        raise ValueError(f"a user's {odd or 'username'} is a text")
    try:
        ZoneInfo(texts.get("time_zone", "GMT"))
    except (ValueError, OSError, KeyError):
        raise ValueError(f"{texts['time_zone']!r} is not a time zone") from None
    if "id" in texts:
        texts["id"] = _user_id(texts["id"])
    texts.setdefault("last_name", texts["username"].partition("@")[0])
    texts.setdefault("email", texts["username"])
    return permitted(User(**texts), given.get("objects"), given.get("fields"), given.get("hard_delete"))


def permitted(
    known: User,
    objects: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    hard_delete: bool | None = None,
) -> User:
    """The user with these permissions besides those that were there."""
    if not isinstance(hard_delete, bool | None):
        raise ValueError(f"hard_delete is true or false, not {hard_delete!r}")  # noqa: TRY004  one kind of error
    levels = dict(known.objects)
    for name, level in _words(objects, "objects", OBJECT_ACCESS).items():
        levels[name.lower()] = level
    hidden = {name: dict(found) for name, found in known.fields.items()}
    for path, level in _words(fields, "fields", FIELD_ACCESS).items():
        name, dot, field_name = path.lower().partition(".")
        if not dot:
            raise ValueError(f"{path!r} is not OBJECT.FIELD")
        hidden.setdefault(name, {})[field_name] = level
    hard = known.hard_delete if hard_delete is None else hard_delete
    return replace(known, objects=levels, fields=hidden, hard_delete=hard)


def given(known: User) -> dict[str, Any]:
    """The mapping that makes the same user again."""
    texts = {key: value for key in sorted(_TEXTS) if (value := getattr(known, key))}
    fields = {f"{name}.{each}": level for name, own in known.fields.items() for each, level in own.items()}
    return {**texts, "objects": dict(known.objects), "fields": fields, "hard_delete": known.hard_delete}


def check(known: User, schema: Schema) -> None:
    """What a user's permissions name is there and can be hidden (system fields and names cannot)."""
    for name in [*known.objects, *known.fields]:
        shape = schema.object(name)
        if shape is None:
            raise ValueError(f"user {known.username}: the org has no object {name!r}")
        for field_name in known.fields.get(name, ()):
            found = shape.field(field_name)
            if found is None:
                raise ValueError(f"user {known.username}: {shape.name} has no field {field_name!r}")
            if field_name in _ALWAYS_SEEN or found.raw.get("nameField") or found.compound == "Name":
                raise ValueError(f"user {known.username}: {shape.name}.{found.name} cannot be hidden")


def _words(given: object, key: str, known: Iterable[str]) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"a user's {key} is a mapping of names")
    for name, level in given.items():
        if not isinstance(level, str) or level not in known:
            raise ValueError(f"{name}: {level!r} is no access, use {', '.join(sorted(known))}")
    return dict(given)


def _user_id(text: str) -> str:
    found = ids.canonical(text)
    if found is None or not found.startswith("005"):
        raise ValueError(f"{text!r} is not an id of a user")
    return found
