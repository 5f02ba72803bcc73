"""Who a session belongs to: userinfo and the identity url. Neither is billed.

Only the keys that the reference names are documented; the rest is what real answers are commonly seen to hold [U].
"""

import re
from typing import TYPE_CHECKING, Any

from connector.sandbox import ids
from connector.sandbox.calls import Reply, Request, reply
from connector.sandbox.urls import NEWEST, parameters
from connector.sandbox.users import ORG_ID, User

if TYPE_CHECKING:
    from connector.sandbox.org import Org

_VERSION = re.compile(r"\d{1,3}\.0", re.ASCII)
_URLS = {
    "enterprise": "/services/Soap/c/{version}/" + ORG_ID[:15],
    "metadata": "/services/Soap/m/{version}/" + ORG_ID[:15],
    "partner": "/services/Soap/u/{version}/" + ORG_ID[:15],
    "rest": "/services/data/v{version}/",
    "sobjects": "/services/data/v{version}/sobjects/",
    "search": "/services/data/v{version}/search/",
    "query": "/services/data/v{version}/query/",
    "recent": "/services/data/v{version}/recent/",
    "tooling_soap": "/services/Soap/T/{version}/" + ORG_ID[:15],
    "tooling_rest": "/services/data/v{version}/tooling/",
    "profile": "/{user}",
    "feeds": "/services/data/v{version}/chatter/feeds",
    "groups": "/services/data/v{version}/chatter/groups",
    "users": "/services/data/v{version}/chatter/users",
    "feed_items": "/services/data/v{version}/chatter/feed-items",
    "feed_elements": "/services/data/v{version}/chatter/feed-elements",
}


def userinfo(org: "Org", request: Request) -> Reply:
    user = _user(org, request)
    if user is None:
        return _forbidden("Bad_OAuth_Token")
    about: dict[str, Any] = {
        "sub": f"{request.origin}/id/{ORG_ID}/{user.id}",
        "user_id": user.id,
        "organization_id": ORG_ID,
        "preferred_username": user.username,
        "nickname": user.username.partition("@")[0],
        "name": user.name,
        "email": user.email,
        "email_verified": True,
        "given_name": user.first_name or None,
        "family_name": user.last_name,
        "zoneinfo": user.time_zone,
        "photos": _photos(request.origin),
        "profile": f"{request.origin}/{user.id}",
        "picture": _photos(request.origin)["picture"],
        "address": {},
        "is_salesforce_integration_user": False,
        "urls": urls(request.origin, user),
        "active": org.is_active(user),
        "user_type": "STANDARD",
        "language": user.language,
        "locale": user.locale,
        "utcOffset": user.offset(org.now()),
        "updated_at": org.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return reply(200, about)


def identity(org: "Org", request: Request) -> Reply:
    """/id/ORG/USER: a user sees oneself; ?version= fills the placeholders of the urls."""
    if not request.headers.get("authorization"):
        return _forbidden("Missing_OAuth_Token")
    user = _user(org, request)
    if user is None:
        return _forbidden("Bad_OAuth_Token")
    org_id, _, user_id = request.path.strip("/").removeprefix("id/").partition("/")
    if ids.canonical(org_id) != ORG_ID:
        return _forbidden("Wrong_Org")
    if ids.canonical(user_id.removesuffix("/")) != user.id:
        return _forbidden("Bad_Id")
    version = parameters(request.query).get("version", "")
    shown = f"{NEWEST}.0" if version == "latest" else version if _VERSION.fullmatch(version) else None
    links = urls(request.origin, user)
    about: dict[str, Any] = {
        "id": f"{request.origin}/id/{ORG_ID}/{user.id}",
        "asserted_user": True,
        "user_id": user.id,
        "organization_id": ORG_ID,
        "username": user.username,
        "nick_name": user.username.partition("@")[0],
        "display_name": user.name,
        "email": user.email,
        "email_verified": True,
        "first_name": user.first_name or None,
        "last_name": user.last_name,
        "timezone": user.time_zone,
        "photos": _photos(request.origin),
        "addr_street": None,
        "addr_city": None,
        "addr_state": None,
        "addr_country": None,
        "addr_zip": None,
        "mobile_phone": None,
        "mobile_phone_verified": False,
        "is_lightning_login_user": False,
        "status": {"created_date": None, "body": None},
        "urls": {key: url.replace("{version}", shown) for key, url in links.items()} if shown else links,
        "active": org.is_active(user),
        "user_type": "STANDARD",
        "language": user.language,
        "locale": user.locale,
        "utcOffset": user.offset(org.now()),
        "last_modified_date": org.now().strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        "is_app_installed": True,
    }
    return reply(200, about)


def urls(origin: str, user: User) -> dict[str, str]:
    return {key: f"{origin}{path.replace('{user}', user.id)}" for key, path in _URLS.items()}


def _photos(origin: str) -> dict[str, str]:
    return {"picture": f"{origin}/profilephoto/005/F", "thumbnail": f"{origin}/profilephoto/005/T"}


def _user(org: "Org", request: Request) -> User | None:
    session = org.sessions.bearer(request.headers, org.now())
    return None if session is None else org.users.get(session.user)


def _forbidden(word: str) -> Reply:
    # [U] status and text as commonly seen: these two do not answer 401
    return Reply(403, word, {"Content-Type": "text/html;charset=UTF-8"})
