"""An org on real HTTP with a client that has signed in, and the moment at which its clock stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from connector.sandbox import Org, fixtures, serve

SHAPES = fixtures.shapes(Path(__file__).parents[2] / "mappings" / "shapes")
NOW = datetime(2025, 3, 12, 12, 0, 0, tzinfo=UTC)  # a Wednesday


@dataclass
class Site:
    org: Org
    url: str
    http: httpx.Client
    bare: httpx.Client  # without a session

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.http.get(f"/services/data/v66.0/{path}", **given)

    def post(self, path: str, body: Any, **given: Any) -> httpx.Response:
        return self.http.post(f"/services/data/v66.0/{path}", json=body, **given)

    def patch(self, path: str, body: Any) -> httpx.Response:
        return self.http.patch(f"/services/data/v66.0/{path}", json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.http.delete(f"/services/data/v66.0/{path}")

    def query(self, soql: str, resource: str = "query", **headers: str) -> httpx.Response:
        return self.get(
            resource, params={"q": soql}, headers={key.replace("_", "-"): text for key, text in headers.items()}
        )

    def composite(self, *requests: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
        listed = [{"method": "GET", "referenceId": f"r{place}", **request} for place, request in enumerate(requests)]
        response = self.post("composite", {"compositeRequest": listed, **body})
        assert response.status_code == 200, response.text
        return response.json()["compositeResponse"]

    def sign_in(self) -> str:
        response = self.http.post(
            "/services/oauth2/token", data={"grant_type": "client_credentials"}, auth=("sandbox", "sandbox")
        )
        token = response.json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        return token


@contextmanager
def site_of(org: Org) -> Iterator[Site]:
    plain = {"timeout": 30, "verify": False}  # loading certificates takes longer than a whole test
    with serve(org) as url, httpx.Client(base_url=url, **plain) as http, httpx.Client(**plain) as bare:
        made = Site(org, url, http, bare)
        made.sign_in()
        yield made
    org.close()
