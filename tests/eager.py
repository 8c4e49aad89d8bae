"""Cells outside a graph, for tests that look at values more than they compute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def eager() -> Iterator[None]:
    """Kernels one by one: a single forward pass costs less than compiling its graph."""
    # Imported where it is used: most test files need no MindSpore.
    import mindspore

    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    yield
    mindspore.set_context(mode=before)
