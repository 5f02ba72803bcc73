"""A path or a subrequest's url -> version, segments and parameters."""

import re
from urllib.parse import parse_qsl, unquote

from connector.sandbox.errors import ApiError, not_found

OLDEST, NEWEST = 31, 68
_RESOURCE = re.compile(r"/services/data/v(\d{1,3})\.0(?:/(.*))?", re.DOTALL)
_SEASONS = ("Summer", "Winter", "Spring")


def resource(path: str) -> tuple[str, tuple[str, ...]] | None:
    """(version, segments), or None for a path outside the versioned API. One trailing slash is tolerated."""
    found = _RESOURCE.fullmatch(path)
    if found is None:
        return None
    number = int(found[1])
    if number < OLDEST and number >= 1:
        # [U] code and sentence; the status is documented
        raise ApiError(410, "UNSUPPORTED_API_VERSION", f"API version {number}.0 is retired")
    if not OLDEST <= number <= NEWEST:
        raise not_found()
    rest = (found[2] or "").removesuffix("/")
    return f"{number}.0", tuple(unquote(part) for part in rest.split("/")) if rest else ()


def parameters(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def split_url(url: str) -> tuple[str, dict[str, str]]:
    """Path and parameters of a subrequest, whose url may come encoded or as plain text.

    A space says that it is plain: then q is everything up to the end, whatever it holds of &, + and %.
    """
    path, _, query = url.partition("?")
    if " " not in query:
        return path, parameters(query)
    before, mark, text = query.partition("q=")
    return path, {**parameters(before), **({"q": text} if mark else {})}


def versions() -> list[dict[str, str]]:
    return [
        {"label": label(number), "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
        for number in range(OLDEST, NEWEST + 1)
    ]


def label(number: int) -> str:
    """Three releases a year: v31 is Summer '14, v32 Winter '15, v33 Spring '15."""
    turn, year = (number - OLDEST) % 3, 14 + (number - OLDEST) // 3
    return f"{_SEASONS[turn]} '{year if turn == 0 else year + 1}"
