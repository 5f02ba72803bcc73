"""Orgs with a stopped clock on real HTTP, made by the options a test gives."""

from collections.abc import Iterator

import pytest
from sandbox_site import NOW, SHAPES, Site, site_of

from connector.sandbox import Org


@pytest.fixture
def new_org():
    """Makes orgs with the recorded shapes and a stopped clock."""
    return lambda **given: Org(SHAPES, **{"clock": lambda: NOW, **given})


@pytest.fixture
def site(new_org) -> Iterator[Site]:
    with site_of(new_org()) as made:
        yield made


@pytest.fixture
def site_with(new_org):
    """A site whose org is made with the options given."""
    return lambda **given: site_of(new_org(**given))
