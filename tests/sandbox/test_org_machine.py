"""Creates, changes, deletes, undeletes, merges and queries in any order: the org and a dictionary must agree."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from sandbox_site import NOW, SHAPES, site_of

from connector.sandbox import Org

NAMES = st.sampled_from(["Ann", "ann", "Bob", "Zoë", "100%", "O'Hara", "a\\b"])
AMOUNTS = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([0.5, 1e12]))


class Machine(RuleBasedStateMachine):
    accounts = Bundle("accounts")
    contacts = Bundle("contacts")

    def __init__(self):
        super().__init__()
        self.org = Org(SHAPES, clock=lambda: NOW, api_limit=10**9)
        self.context = site_of(self.org)
        self.site = self.context.__enter__()
        self.rows = {}  # id -> {Name, AnnualRevenue, deleted, master}
        self.links = {}  # contact -> account

    def teardown(self):
        self.context.__exit__(None, None, None)

    # -- what a client does

    @rule(target=accounts, name=NAMES, amount=AMOUNTS)
    def create(self, name, amount):
        made = self.site.post("sobjects/Account", {"Name": name, "AnnualRevenue": amount})
        assert made.status_code == 201, made.text
        id18 = made.json()["id"]
        self.rows[id18] = {"Name": name, "AnnualRevenue": amount, "deleted": False, "master": None}
        return id18

    @rule(target=accounts, names=st.lists(NAMES, min_size=1, max_size=3), bad=st.booleans(), every=st.booleans())
    def create_many(self, names, bad, every):
        records = [{"attributes": {"type": "Account"}, "Name": name} for name in names]
        records += [{"attributes": {"type": "Account"}, "Nope": 1}] * bad
        results = self.site.post("composite/sobjects", {"records": records, "allOrNone": every}).json()
        good = [result["id"] for result in results if result["success"]]
        assert len(good) == (0 if every and bad else len(names))
        for id18, name in zip(good, names, strict=False):
            self.rows[id18] = {"Name": name, "AnnualRevenue": None, "deleted": False, "master": None}
        return multiple(*good)

    @rule(target=contacts, account=accounts)
    def link(self, account):
        made = self.site.post("sobjects/Contact", {"LastName": "x", "AccountId": account})
        if self.rows[account]["deleted"]:
            assert made.json()[0]["errorCode"] == "ENTITY_IS_DELETED"
            return multiple()
        self.links[made.json()["id"]] = account
        return made.json()["id"]

    @rule(account=accounts, name=NAMES, short=st.booleans())
    def update(self, account, name, short):
        response = self.site.patch(f"sobjects/Account/{account[:15] if short else account}", {"Name": name})
        if self.rows[account]["deleted"]:
            assert response.json()[0]["errorCode"] == "ENTITY_IS_DELETED"
        else:
            assert response.status_code == 204
            self.rows[account]["Name"] = name

    @rule(chosen=st.lists(accounts, min_size=1, max_size=4, unique=True))
    def delete(self, chosen):
        results = self.site.delete(f"composite/sobjects?ids={','.join(chosen)}").json()
        assert [result["success"] for result in results] == [not self.rows[each]["deleted"] for each in chosen]
        for each in chosen:
            self.rows[each]["deleted"] = True

    # -- what an administrator does

    @rule(account=accounts)
    def undelete(self, account):
        if self.rows[account]["deleted"]:
            self.org.undelete("Account", account)
            self.rows[account] |= {"deleted": False, "master": None}

    @rule(master=accounts, loser=accounts)
    def merge(self, master, loser):
        if master != loser and not self.rows[master]["deleted"] and not self.rows[loser]["deleted"]:
            self.org.merge("Account", master, [loser])
            self.rows[loser] |= {"deleted": True, "master": master}
            self.links = {contact: master if each == loser else each for contact, each in self.links.items()}

    # -- what is seen

    @rule(name=NAMES)
    def find_by_name(self, name):
        text = name.replace("\\", "\\\\").replace("'", "\\'")
        found = self.site.query(f"SELECT Id FROM Account WHERE Name = '{text}'").json()["records"]
        assert {row["Id"] for row in found} == {
            id18 for id18, row in self.live().items() if row["Name"].casefold() == name.casefold()
        }

    @rule()
    def add_up(self):
        soql = "SELECT COUNT(Id) n, SUM(AnnualRevenue) total, MAX(AnnualRevenue) top FROM Account"
        [row] = self.site.query(soql).json()["records"]
        amounts = [float(row["AnnualRevenue"]) for row in self.live().values() if row["AnnualRevenue"] is not None]
        assert (row["n"], row["top"]) == (len(self.live()), max(amounts, default=None))
        assert row["total"] == (sum(amounts) if amounts else None)

    @rule()
    def group(self):
        rows = self.site.query("SELECT Name, COUNT(Id) n FROM Account GROUP BY Name").json()["records"]
        names = [row["Name"].casefold() for row in self.live().values()]
        assert {row["Name"].casefold(): row["n"] for row in rows} == {name: names.count(name) for name in names}

    @rule(account=accounts)
    def read(self, account):
        response = self.site.get(f"sobjects/Account/{account}")
        assert response.status_code == (404 if self.rows[account]["deleted"] else 200)

    @invariant()
    def both_agree(self):
        soql = "SELECT Id, Name, AnnualRevenue, IsDeleted, MasterRecordId, (SELECT Id FROM Contacts) FROM Account"
        found = {row["Id"]: row for row in self.site.query(soql, resource="queryAll").json()["records"]}
        assert found.keys() == self.rows.keys()
        for id18, row in self.rows.items():
            shown = found[id18]
            assert (shown["Name"], shown["AnnualRevenue"]) == (row["Name"], row["AnnualRevenue"])
            assert (shown["IsDeleted"], shown["MasterRecordId"]) == (row["deleted"], row["master"])
            children = shown["Contacts"]["records"] if shown["Contacts"] else []
            assert {child["Id"] for child in children} == {key for key, each in self.links.items() if each == id18}
        assert self.site.query("SELECT COUNT() FROM Account").json()["totalSize"] == len(self.live())

    def live(self):
        return {id18: row for id18, row in self.rows.items() if not row["deleted"]}


Machine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMachine = Machine.TestCase
