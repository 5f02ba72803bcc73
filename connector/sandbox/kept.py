"""What an org is set up with, as one text in its file: clients, users, rules, locks, faults, consent, approvals.

Written again where it has changed, read where the org is made anew. Sessions, codes and jobs end with the process.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connector.sandbox import users
from connector.sandbox.faults import Fault
from connector.sandbox.sessions import Grant
from connector.sandbox.store import Store

if TYPE_CHECKING:
    from connector.sandbox.org import Org

KEY = "setup"
_FAULT = tuple(field.name for field in fields(Fault) if field.name != "chance")


def read(store: Store) -> dict[str, Any]:
    return dict(json.loads(store.meta(KEY) or "{}"))


def restore(org: "Org", known: Mapping[str, Any]) -> None:
    """Everything but clients and users, which an org needs from the start."""
    for name, given in known.get("rules", {}).items():
        org.rules(name, *given["on"], validations=given["validations"], duplicates=given["duplicates"])
    org.records.locks.update(known.get("locks", {}))
    for given in known.get("faults", ()):
        org.faults.add(Fault(**given))
    org.authorizations.consent, org.authorizations.consenting = known.get("consent", ("ask", None))
    for given in known.get("approvals", ()):
        ends = given["ends"] and datetime.fromisoformat(given["ends"])
        made = Grant(**{**given, "scopes": tuple(given["scopes"]), "ends": ends})
        if made.user in org.users and made.client in org.sessions.clients:
            org.sessions.grants[made.number] = made
        org.sessions.approved = max(org.sessions.approved, made.number)


def write(org: "Org") -> None:
    setup = {
        "clients": org.registered,
        "users": [users.given(each) for each in org.users.values()],
        "rules": org.demands,
        "locks": {id18: writes for id18, writes in org.records.locks.items() if writes > 0},
        "faults": [{name: getattr(each, name) for name in _FAULT} for each in org.faults.waiting],
        "consent": [org.authorizations.consent, org.authorizations.consenting],
        "approvals": [vars(each) for each in org.sessions.grants.values()],
    }
    text = json.dumps(setup, default=_plain)
    if text != org.store.meta(KEY):
        org.store.set_meta(KEY, text)


def _plain(value: Any) -> Any:
    """What Python takes for a mapping, a list of texts or a moment."""
    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else sorted(value)
