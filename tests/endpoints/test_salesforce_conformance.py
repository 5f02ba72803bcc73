"""The suite that every endpoint passes, over the sandbox org."""

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.register_assert_rewrite("conformance")

from conformance import *  # noqa: E402, F403
from conformance import Bench  # noqa: E402

from connector.endpoints.salesforce import Salesforce  # noqa: E402
from connector.model import Where  # noqa: E402
from connector.sandbox import Org, serve  # noqa: E402

FOLDER = Path(__file__).parents[2] / "mappings" / "shapes"
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
PROJECT = "i360__Project__c"
ITEM = {
    "name": "Item__c",
    "label": "Item",
    "keyPrefix": "a0Z",
    "custom": True,
    "fields": [
        *(field for field in json.loads((FOLDER / f"{PROJECT}.json").read_text())["fields"] if not field["name"].startswith("i360__")),
        *(
            {"name": name, "label": name, "nillable": True, "createable": True, "updateable": True, "filterable": True, "sortable": True}
            | more
            for name, more in {
                "Title__c": {"type": "string", "length": 255},
                "Note__c": {"type": "string", "length": 255},
                "Amount__c": {"type": "currency", "precision": 18, "scale": 2},
                "Active__c": {"type": "boolean", "nillable": False, "defaultedOnCreate": True},
                "At__c": {"type": "datetime"},
                "Day__c": {"type": "date"},
            }.items()
        ),
    ],
}  # fmt: skip
FIELDS = {"Title__c": "text", "Note__c": "text", "Amount__c": "number", "At__c": "instant", "Day__c": "date"}


class Still:
    def now(self):
        return NINE

    def sleep(self, seconds):
        pass


@pytest.fixture(scope="module")
def served():
    org = Org([ITEM, json.loads((FOLDER / "User.json").read_text())], clock=lambda: NINE)
    with serve(org) as url:
        yield org, url
    org.close()


@pytest.fixture
def bench(served):
    org, url = served
    for row in org.rows("Item__c"):
        org.delete("Item__c", row["Id"])
    org.page_size = 2000
    auth = {"grant": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox"}
    with closing(Salesforce("remote", {"login": url, "auth": auth}, clock=Still())) as endpoint:
        yield Bench(
            endpoint,
            "Item__c",
            "Title__c",
            "Note__c",
            FIELDS,
            refused={"Day__c": "no day"},
            pages=lambda size: setattr(org, "page_size", size),
            text_alphabet="".join(map(chr, range(33, 127))) + "äßéİ東🎉",
            lost_object="Nothing__c",
        )


def test_case_counts_unless_folded(bench):
    """SOQL's `=` never minds the case: who compares exactly has to look at what comes."""
    bench.seed({bench.text: "Zoë  Straße"}, {bench.text: "other"})
    assert len(bench.rows(where=(Where(bench.text, ("ZOË  STRAßE",)),))) == 1
    assert len(bench.rows(where=(Where(bench.text, (" ZOË straße",), fold=True),))) == 1


def test_many_values_are_one_question(bench):
    """A list that goes in several queries is in order only within each of them."""
    texts = [f"t{n}" for n in range(620)]
    bench.seed(*({bench.text: text} for text in texts))
    wanted = (*texts[:610], *(f"none{n}" for n in range(700)))
    found = bench.rows(where=(Where(bench.text, wanted),))
    assert sorted(row[bench.text] for row in found) == sorted(texts[:610])
