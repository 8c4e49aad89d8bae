"""What the flow does with its parameters before any task runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_flows.mixnet import mixnet


def test_scaling_the_rates_without_another_batch_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="give --ranks or --global-batch"):
        mixnet.fn(scale_lr=True, workspace=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
