"""What both tests of this folder start from."""

import pytest
from world import make


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("world"))
