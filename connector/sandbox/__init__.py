"""A local Salesforce org on real HTTP that clients take for the real thing.

    org = Org(shapes=[...])
    org.load([{"object": "Account", "Name": "Acme"}])
    with serve(org) as url:
        ...

What is exact, assumed and missing stands in docs/sandbox.md. Nothing here is shared with the code that it is there to test.
"""

from connector.sandbox.http import serve
from connector.sandbox.org import Org

__all__ = ["Org", "serve"]
