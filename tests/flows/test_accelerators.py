from __future__ import annotations

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from mixnet_core.errors import MachineError
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.recipe.sections import Devices
from mixnet_flows.accelerators import accelerators_held
from tests.flows.conftest import Deployed, asked

pytestmark = pytest.mark.slow


def devices(target: str, ranks: int) -> Devices:
    return load_recipe("digits").devices.model_copy(update={"target": target, "ranks": ranks})


def held(deployed: Deployed) -> int:
    limit = asked("GET", f"{deployed.api}/v2/concurrency_limits/accelerators")
    return int(limit["active_slots"])


def test_a_run_holds_as_many_accelerators_as_ranks_and_gives_them_back(deployed: Deployed) -> None:
    with temporary_settings({PREFECT_API_URL: deployed.api}), disable_run_logger():
        with accelerators_held(devices("CPU", 8)):
            assert held(deployed) == 0
        with accelerators_held(devices("Ascend", 3)):
            assert held(deployed) == 3
        own = pytest.raises(ValueError, match="the stage's own")
        with own, accelerators_held(devices("Ascend", 3)):
            raise ValueError("the stage's own")
    assert held(deployed) == 0


def test_more_accelerators_than_there_are_is_one_line_that_says_what_to_do(
    deployed: Deployed,
) -> None:
    with (
        temporary_settings({PREFECT_API_URL: deployed.api}),
        disable_run_logger(),
        pytest.raises(MachineError, match=r"mixnet_flows\.infra\.setup --accelerators") as caught,
        accelerators_held(devices("Ascend", 9)),
    ):
        pytest.fail("held more than there are")
    assert "\n" not in str(caught.value)
