"""The page on which a user lets a client in, and the codes it gives away.

A request is checked before anything is shown. What is wrong with the client or its callback stays on a page; everything else
goes back to the callback as error and error_description. A form carries a ticket, so that no other page can approve.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from connector.sandbox.calls import Reply, Request
from connector.sandbox.errors import OAuthError, not_emulated
from connector.sandbox.oauth.apps import Client
from connector.sandbox.oauth.grants import form
from connector.sandbox.urls import parameters
from connector.sandbox.users import User

if TYPE_CHECKING:
    from connector.sandbox.org import Org

CODE_LIFE = timedelta(minutes=15)  # [U]
_KEPT = 1_000
_CHALLENGE = 43  # characters of a SHA-256 in BASE64URL
_REFUSED = ("access_denied", "end-user denied authorization")

Consent = Literal["ask", "allow", "deny"]


@dataclass(frozen=True)
class Approval:
    """What a client asks a user for; with a user it is a code."""

    client: str
    callback: str
    scopes: tuple[str, ...]
    state: str | None
    challenge: str | None
    ends: datetime
    user: str = ""


class Authorizations:
    """Tickets of open pages and codes not yet spent; `consent` answers in a user's place."""

    def __init__(self) -> None:
        self.tickets: OrderedDict[str, Approval] = OrderedDict()
        self.codes: OrderedDict[str, Approval] = OrderedDict()
        self.consent: Consent = "ask"
        self.consenting: str | None = None

    def spend(self, code: str, now: datetime) -> Approval | None:
        """A code is good once, whatever comes of it."""
        return _taken(self.codes, code, now)

    def keep(self, kept: "OrderedDict[str, Approval]", approval: Approval, prefix: str) -> str:
        key = prefix + secrets.token_urlsafe(48)
        kept[key] = approval
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return key


def answer(org: "Org", request: Request) -> Reply:
    try:
        if request.method == "POST":
            return _decided(org, form(request.body))
        return _asked(org, parameters(request.query))
    except OAuthError as wrong:
        text = f"<p>error={escape(wrong.error)}&amp;error_description={escape(wrong.description)}</p>"
        return _page(400, "This client cannot be let in", text)


def _asked(org: "Org", given: Mapping[str, str]) -> Reply:
    client = org.sessions.clients.get(given.get("client_id", ""))
    if client is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    callback = given.get("redirect_uri", "")
    if callback not in client.callbacks:
        raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")  # [U] description
    kind = given.get("response_type", "")
    if kind in ("token", "code token", "token id_token", "device_code", "hybrid_token"):
        raise not_emulated(f"The response type {kind}")
    state = given.get("state")
    try:
        approval = _approval(client, callback, given, org.now() + CODE_LIFE)
    except OAuthError as wrong:
        return _back(callback, {"error": wrong.error, "error_description": wrong.description}, state)
    page = org.authorizations
    if page.consent == "ask":
        return _form(org, client, approval, given.get("login_hint", ""))
    user = org.user(page.consenting) if page.consenting else next(iter(org.users.values()))
    return _answered(org, approval, user if page.consent == "allow" else None)


def _approval(client: Client, callback: str, given: Mapping[str, str], ends: datetime) -> Approval:
    if given.get("response_type") != "code" or "authorization_code" not in client.flows:
        raise OAuthError("unsupported_response_type", "response type not supported")  # [U] description
    # [U] Without a method it is S256, the only one: a client that Salesforce itself maintains sends none.
    challenge, method = given.get("code_challenge"), given.get("code_challenge_method", "S256")
    if challenge is None and client.pkce:
        raise OAuthError("invalid_request", "missing required code challenge")  # [U] description
    if challenge is not None and (method != "S256" or len(challenge) != _CHALLENGE):
        raise OAuthError("invalid_request", "invalid code challenge")  # [U] description
    # Without a scope all that the client is set up for (as Salesforce does); an unknown one is an error.
    scopes = tuple(dict.fromkeys(given.get("scope", "").split())) or client.scopes
    if set(scopes) - set(client.scopes):
        raise OAuthError("invalid_scope", "the requested scope is not allowed")  # [U] description
    return Approval(client.id, callback, scopes, given.get("state"), challenge, ends)


def _form(org: "Org", client: Client, approval: Approval, hint: str) -> Reply:
    ticket = org.authorizations.keep(org.authorizations.tickets, approval, "")
    users = "".join(
        f'<option value="{escape(user.username)}"{" selected" if user.username == hint else ""}>'
        f"{escape(user.name or user.username)} ({escape(user.username)})</option>"
        for user in org.users.values()
        if org.is_active(user)
    )
    scopes = "".join(f"<li>{escape(scope)}</li>" for scope in approval.scopes)
    return _page(
        200,
        f"Allow access to {escape(client.name or client.id)}?",
        f'<p>It asks for:</p><ul>{scopes}</ul><form method="post" action="/services/oauth2/authorize">'
        f'<input type="hidden" name="ticket" value="{ticket}">'
        f'<p><label>User <select name="username">{users}</select></label></p>'
        '<p><button name="decision" value="allow">Allow</button> '
        '<button name="decision" value="deny">Deny</button></p></form>',
    )


def _decided(org: "Org", given: Mapping[str, str]) -> Reply:
    approval = _taken(org.authorizations.tickets, given.get("ticket", ""), org.now())
    if approval is None:
        raise OAuthError("invalid_request", "this page was answered already, or is too old")  # ours: no such page there
    user = org.find_user(given.get("username", ""))
    allowed = given.get("decision") == "allow"
    if allowed and (user is None or not org.is_active(user)):
        raise OAuthError("invalid_request", "no such user")
    return _answered(org, approval, user if allowed else None)


def _answered(org: "Org", approval: Approval, user: User | None) -> Reply:
    if user is None:
        error, description = _REFUSED
        return _back(approval.callback, {"error": error, "error_description": description}, approval.state)
    code = Approval(
        approval.client, approval.callback, approval.scopes, None, approval.challenge, org.now() + CODE_LIFE, user.id
    )
    key = org.authorizations.keep(org.authorizations.codes, code, "aPrx")
    return _back(approval.callback, {"code": key}, approval.state)


def _back(callback: str, given: Mapping[str, str], state: str | None) -> Reply:
    query = urlencode({**given, **({} if state is None else {"state": state})}, errors="replace")
    return Reply(302, None, {"Location": f"{callback}{'&' if '?' in callback else '?'}{query}"})


def _taken(kept: "OrderedDict[str, Approval]", key: str, now: datetime) -> Approval | None:
    found = kept.pop(key, None)
    return found if found is not None and found.ends > now else None


def _page(status: int, title: str, body: str) -> Reply:
    text = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>'
    headers = {
        "Content-Type": "text/html;charset=UTF-8",
        "Content-Security-Policy": "default-src 'none'",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    return Reply(status, text, headers)
