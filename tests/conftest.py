from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mixnet_core.user_cache import VARIABLE
from tests.object_store import object_store, s3_environment  # noqa: F401
from tests.tiny import finished_job  # noqa: F401
from tests.web_server import plain_network, server  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor leave anything in the user's cache."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before
