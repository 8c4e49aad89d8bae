"""What training cells of MindSpore and MindCV save, on a network of two layers and a BatchNorm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from mixnet_core.checkpoints.store import load_weights
from mixnet_core.errors import CheckpointMismatch, InputError
from tests.mindcv_cells import MakeOptimizer, Step, double_averages, momentum, save, save_named


class Net(nn.Cell):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Dense(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.classifier = nn.Dense(4, classes)

    def construct(self, x: Tensor) -> Tensor:
        return self.classifier(self.norm(self.body(x)))


STATISTICS = {"norm.moving_mean", "norm.moving_variance"}
Renamed = Callable[[str], str]


pytestmark = pytest.mark.usefixtures("eager")


def values(net: nn.Cell) -> dict[str, Any]:
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def trained() -> Net:
    """A network whose statistics are not a fresh one's."""
    net = Net()
    for number, parameter in enumerate(net.get_parameters()):
        parameter.set_data(Tensor(np.full(parameter.shape, number + 1.5, np.float32)))
    return net


def rates(parameters: list[Parameter]) -> list[dict[str, Any]]:
    return [{"params": parameters[:2], "lr": 0.01}, {"params": parameters[2:]}]


OPTIMIZERS: dict[str, MakeOptimizer] = {
    "momentum": momentum,
    "SGD": lambda p: nn.SGD(p, 0.1, 0.9),
    "Adam": lambda p: nn.Adam(p, 0.1),
    "Adam with rates per group": lambda p: nn.Adam(rates(p), [0.1, 0.2]),
    "AdamWeightDecay": lambda p: nn.AdamWeightDecay(p, [0.1, 0.2]),
    "Lamb": lambda p: nn.Lamb(p, 0.1),
    "RMSProp": lambda p: nn.RMSProp(p, 0.1, centered=True),
    "Adagrad": lambda p: nn.Adagrad(p, 0.1),
    "Adadelta": lambda p: nn.Adadelta(p, 0.1),
    "AdaMax": lambda p: nn.AdaMax(p, 0.1),
    "FTRL": lambda p: nn.FTRL(p),
    "Rprop": lambda p: nn.Rprop(p, 0.1),
    "ASGD": lambda p: nn.ASGD(p, 0.1),
    "AdaFactor": lambda p: nn.AdaFactor(p, relative_step=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed scale", "dynamic scale"])
def test_the_network_is_taken_out_of_what_a_training_cell_saves(
    name: str, dynamic: bool, tmp_path: Path
) -> None:
    net = trained()
    expected = values(net)
    step = Step(net, OPTIMIZERS[name](net.trainable_params()), ema=True, dynamic=dynamic)
    path = save(step, tmp_path / "mixnet_s-2_74.ckpt")
    fresh = Net()
    load_weights(fresh, path)
    assert {n: v.tolist() for n, v in values(fresh).items()} == {
        n: v.tolist() for n, v in expected.items()
    }


# MindCV's own optimizers are in no package here: their names for a parameter's state and for
# numbers, as its source registers them.
MINDCV = {
    "AdamW": (["adam_m", "adam_v"], ["beta1_power", "beta2_power"]),
    "Adan": (["moment1", "moment2", "moment3", "prev_gradient"], []),
    "Lion": (["lion_m"], ["beta1_power", "beta2_power"]),
    "NAdam": (["nadam_m", "nadam_v"], ["mu_schedule", "beta2_power"]),
}


@pytest.mark.parametrize("name", MINDCV)
def test_so_it_is_with_mindcvs_own_optimizers(name: str, tmp_path: Path) -> None:
    net = trained()
    slots, numbers = MINDCV[name]
    parameters = values(net)
    for slot in slots:
        parameters |= {f"{slot}.{p.name}": p.asnumpy() for p in net.trainable_params()}
    alone = [*numbers, "global_step", "learning_rate", "scale_sense", "updates"]
    parameters |= {number: np.ones(1, np.float32) for number in alone}
    parts = load_weights(Net(), save_named(parameters, tmp_path / "w.ckpt"))
    assert parts.left_out["the optimizer"] == 6 * len(slots) + len(numbers) + 2


def test_what_is_left_out_is_counted_by_kind_in_one_line(tmp_path: Path) -> None:
    net = trained()
    step = Step(net, momentum(net.trainable_params()), ema=True, dynamic=True)
    parts = load_weights(Net(), save(step, tmp_path / "w.ckpt"))
    # Six momenta, global_step, momentum and the rates; scale_sense and two of its iterations.
    assert parts.sentence(ema=False, how="--ema") == (
        "left out of a training's state: 9 parameters of the optimizer, 8 of moving averages, 3 of "
        "the loss scale, 1 of counters; --ema takes the averages"
    )
    assert parts.sentence(ema=True, how="--ema") == (
        "the moving averages are taken; left out of a training's state: 9 parameters of the "
        "optimizer, 8 of the weights as trained, 3 of the loss scale, 1 of counters"
    )
    assert load_weights(Net(), save(net, tmp_path / "n.ckpt")).sentence(ema=False, how="") == ""


def test_the_averages_are_taken_whole_with_batchnorms_statistics(tmp_path: Path) -> None:
    net = trained()
    step = Step(net, momentum(net.trainable_params()), ema=True)
    double_averages(step)
    path = save(step, tmp_path / "w.ckpt")
    taken = Net()
    load_weights(taken, path, ema=True)
    for name, value in values(net).items():
        np.testing.assert_array_equal(values(taken)[name], 2 * value)
    load_weights(taken, path)
    np.testing.assert_array_equal(values(taken)["norm.moving_mean"], net.norm.moving_mean.asnumpy())


def test_averages_that_are_not_there_or_not_whole_are_an_error_that_changes_nothing(
    tmp_path: Path,
) -> None:
    net, fresh = trained(), Net()
    before = values(fresh)
    with pytest.raises(InputError, match=r"w\.ckpt holds no moving averages .*: leave .* out"):
        load_weights(fresh, save(net, tmp_path / "w.ckpt"), ema=True)
    part = values(net) | {f"ema.{p.name}": p.asnumpy() for p in net.trainable_params()}
    path = save_named(part, tmp_path / "part.ckpt")
    with pytest.raises(CheckpointMismatch, match=r"of 2 parameters, the first is norm\.moving_mea"):
        load_weights(fresh, path, ema=True)
    # Nothing then offers them.
    assert "--ema" not in load_weights(Net(), path).sentence(ema=False, how="--ema")
    for name, value in values(fresh).items():
        np.testing.assert_array_equal(value, before[name])


def test_averages_in_a_file_of_their_own_are_named(tmp_path: Path) -> None:
    path = save(trained(), tmp_path / "weights.ckpt")
    save(trained(), tmp_path / "ema.ckpt")
    with pytest.raises(InputError, match=r"or give .*/ema\.ckpt, which holds them"):
        load_weights(Net(), path, ema=True)


def test_accumulating_gradients_renames_trainable_weights_alone(tmp_path: Path) -> None:
    net = trained()
    expected = values(net)
    step = Step(net, momentum(net.trainable_params()), ema=True, accumulate=True)
    path = save(step, tmp_path / "w.ckpt")
    names = {p.name for p in net.get_parameters()}
    assert {name for name in names if not name.startswith("optimizer.")} == STATISTICS
    fresh = Net()
    parts = load_weights(fresh, path)
    assert parts.left_out["accumulated gradients"] == 6
    for name, value in values(fresh).items():
        np.testing.assert_array_equal(value, expected[name])


PREFIXES = ["network.", "backbone.", "_backbone.", "network._backbone.", "module.", "net.model."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("with_state", [False, True], ids=["alone", "with state"])
def test_what_all_parameters_carry_before_their_names_is_left_out(
    prefix: str, with_state: bool, tmp_path: Path
) -> None:
    net = trained()
    parameters = {f"{prefix}{name}": value for name, value in values(net).items()}
    if with_state:
        parameters |= {
            f"moments.{prefix}{p.name}": np.zeros(p.shape, np.float32)
            for p in net.trainable_params()
        }
        parameters |= {f"ema.{prefix}{name}": 2 * value for name, value in values(net).items()}
    path = save_named(parameters, tmp_path / "w.ckpt")
    fresh = Net()
    load_weights(fresh, path)
    for name, value in values(net).items():
        np.testing.assert_array_equal(values(fresh)[name], value)
    if with_state:
        load_weights(fresh, path, ema=True)
        np.testing.assert_array_equal(values(fresh)["body.bias"], 2 * values(net)["body.bias"])


def only_some(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        (f"network.{name}" if number % 2 else name): value
        for number, (name, value) in enumerate(parameters.items())
    }


def two_networks(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{prefix}{name}": value
        for prefix in ("network.", "backbone.")
        for name, value in parameters.items()
    }


def and_a_copy(parameters: dict[str, Any]) -> dict[str, Any]:
    return parameters | {f"network.{name}": value for name, value in parameters.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (only_some, "stand in it plain and under network., expected one network"),
        (two_networks, "stand in it under backbone. and under network., expected one"),
        (and_a_copy, "unexpected network.body.weight; "),
        (lambda p: p | {"moments.other": np.ones(1)}, "unexpected moments.other"),
        (lambda p: p | {"moments.body": np.ones(1)}, "unexpected moments.body"),
        (lambda p: p | {"teacher.body.bias": np.ones(4)}, "unexpected teacher.body.bias"),
        (lambda p: p | {"ema.other.bias": np.ones(4)}, "unexpected ema.other.bias"),
        (lambda p: p | {"extra_step": np.ones(1)}, "unexpected extra_step"),
    ],
)
def test_what_is_not_plainly_a_trainings_state_stays_an_error(
    change: Callable[[dict[str, Any]], dict[str, Any]], message: str, tmp_path: Path
) -> None:
    path = save_named(change(values(trained())), tmp_path / "w.ckpt")
    with pytest.raises(CheckpointMismatch) as raised:
        load_weights(Net(), path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_optimizers_own_file_is_told_from_a_networks(tmp_path: Path) -> None:
    net = trained()
    path = save(momentum(net.trainable_params()), tmp_path / "optim_mixnet_s.ckpt")
    with pytest.raises(CheckpointMismatch, match=r"an optimizer's state and no BatchNorm .*EPOCH"):
        load_weights(Net(), path)


def test_a_new_classifier_leaves_out_the_old_ones_state_too(tmp_path: Path) -> None:
    net = trained()
    step = Step(net, momentum(net.trainable_params()), ema=True)
    double_averages(step)
    path = save(step, tmp_path / "w.ckpt")
    for ema in (False, True):
        fresh = Net(classes=5)
        before = values(fresh)
        load_weights(fresh, path, reset_classifier=True, ema=ema)
        np.testing.assert_array_equal(
            values(fresh)["classifier.weight"], before["classifier.weight"]
        )
        np.testing.assert_array_equal(
            values(fresh)["body.bias"], (1 + ema) * values(net)["body.bias"]
        )
