"""Every kind of fault at every request of a run, pulling and pushing: nothing lost, nothing doubled, nothing untrue said.

The kinds stand in tests/faults/kinds.py, what is looked at in tests/faults/cases.py, what the run holds in tests/faults/world.py.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from faults import cases
from faults.kinds import ANY, KINDS
from faults.world import WAYS

WORKERS = 2


@pytest.fixture(scope="module")
def ends(request):
    """(kind, way) -> what became of it: all that were asked for are under way at once, in processes of their own."""
    asked = [item.callspec.params for item in request.session.items if item.module is request.module]
    with ProcessPoolExecutor(WORKERS, get_context("spawn"), cases.start) as pool:
        yield {
            (each["kind"], each["way"]): pool.submit(cases.every, each["kind"], each["way"])
            for each in asked
            if "kind" in each
        }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_at_every_request(ends, kind, way):
    end = ends[kind, way].result()
    assert end["wrong"] == []
    if not end["ended"]:
        assert KINDS[kind].only != ANY
        pytest.skip("faults of pages or of writes, where a run has none of them")
