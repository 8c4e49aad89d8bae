"""On a network of two dense layers, whose classifier is named as MixNet's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from mixnet_core.checkpoints.bundle import OPTIMIZER, WEIGHTS
from mixnet_core.checkpoints.store import (
    load_weights,
    optimizer_state,
    read_parameters,
    restore,
    save_into,
)
from mixnet_core.errors import CheckpointMismatch, InputError, IntegrityError, JobFailed

MakeOptimizer = Callable[[nn.Cell], nn.Optimizer]


class Net(nn.Cell):
    def __init__(self, inner: int = 4, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Dense(3, inner)
        self.classifier = nn.Dense(inner, classes)

    def construct(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x))


pytestmark = pytest.mark.usefixtures("eager")


def arrays(net: nn.Cell) -> dict[str, Any]:
    # A copy: asnumpy shares the parameter's memory.
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def write(path: Path, parameters: dict[str, Any]) -> Path:
    rows = [{"name": name, "data": Tensor(array)} for name, array in parameters.items()]
    mindspore.save_checkpoint(rows, str(path))
    return path


def test_weights_load_exactly(tmp_path: Path) -> None:
    source, net = Net(), Net()
    assert not equal(arrays(net), arrays(source))
    load_weights(net, write(tmp_path / "w.ckpt", arrays(source)))
    assert equal(arrays(net), arrays(source))


def test_float16_weights_load_into_a_float32_network(tmp_path: Path) -> None:
    halves = {name: array.astype(np.float16) for name, array in arrays(Net()).items()}
    net = Net()
    load_weights(net, write(tmp_path / "w.ckpt", halves))
    assert {p.dtype for p in net.get_parameters()} == {mindspore.float32}
    assert all(np.array_equal(a, halves[name]) for name, a in arrays(net).items())


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda parameters: parameters.pop(name)


def with_an_extra_one(parameters: dict[str, Any]) -> None:
    parameters["body.gamma"] = np.ones(4, np.float32)


def with_another_shape(parameters: dict[str, Any]) -> None:
    # As many numbers, so that only the shape tells.
    parameters["body.weight"] = parameters["body.weight"].reshape(3, 4)


def with_more_classes(parameters: dict[str, Any]) -> None:
    parameters["classifier.bias"] = np.zeros(5, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("body.bias"), "missing body.bias; check variant and flavour"),
        (with_an_extra_one, "unexpected body.gamma; check variant and flavour"),
        (with_another_shape, "body.weight has shape (3, 4), expected (4, 3); check variant"),
        (
            with_more_classes,
            "classifier.bias has shape (5,), expected (2,); check variant and flavour, "
            "or set weights.reset_classifier",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    parameters = arrays(Net())
    change(parameters)
    path = write(tmp_path / "w.ckpt", parameters)
    net = Net()
    before = arrays(net)
    with pytest.raises(CheckpointMismatch) as raised:
        load_weights(net, path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert equal(arrays(net), before)


def test_more_than_three_faults_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "w.ckpt", {"other": np.ones(1, np.float32)})
    with pytest.raises(CheckpointMismatch, match=r"missing body\.weight; .*; and 2 more; check"):
        load_weights(Net(), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    net = Net()
    before = arrays(net)
    with pytest.raises(InputError, match=r"no checkpoint file at .*/none\.ckpt"):
        load_weights(net, tmp_path / "none.ckpt")
    assert equal(arrays(net), before)


@pytest.mark.parametrize("kept", [0, -5])
def test_a_file_that_is_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    whole = write(tmp_path / "w.ckpt", arrays(Net())).read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(whole[:kept])
    with pytest.raises(IntegrityError) as raised:
        read_parameters(path)
    assert str(raised.value).startswith(f"{path} is not a readable checkpoint")
    assert "\n" not in str(raised.value)


def test_reset_classifier_keeps_the_networks_own(tmp_path: Path) -> None:
    source, net = Net(classes=5), Net(classes=2)
    before = arrays(net)
    load_weights(net, write(tmp_path / "w.ckpt", arrays(source)), reset_classifier=True)
    after = arrays(net)
    for name in ("body.weight", "body.bias"):
        assert np.array_equal(after[name], arrays(source)[name])
    for name in ("classifier.weight", "classifier.bias"):
        assert np.array_equal(after[name], before[name])


def test_reset_classifier_is_as_strict_about_the_rest(tmp_path: Path) -> None:
    parameters = arrays(Net(classes=5))
    del parameters["body.bias"]
    path = write(tmp_path / "w.ckpt", parameters)
    with pytest.raises(CheckpointMismatch, match=r"missing body\.bias"):
        load_weights(Net(), path, reset_classifier=True)


def momentum(net: nn.Cell, rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)) -> nn.Optimizer:
    return nn.Momentum(net.trainable_params(), list(rates), 0.9)


def adamw(net: nn.Cell) -> nn.Optimizer:
    return nn.AdamWeightDecay(net.trainable_params(), [0.1, 0.2, 0.3, 0.4], weight_decay=0.01)


def files(net: nn.Cell, optimizer: nn.Optimizer) -> dict[str, dict[str, Parameter]]:
    return {
        WEIGHTS: {p.name: p for p in net.get_parameters()},
        OPTIMIZER: optimizer_state(optimizer, net),
    }


def steps(net: nn.Cell, optimizer: nn.Optimizer, count: int) -> None:
    images = Tensor(np.random.RandomState(3).randn(5, 3).astype(np.float32))
    gradient = mindspore.value_and_grad(lambda x: (net(x) ** 2).mean(), None, optimizer.parameters)
    for _ in range(count):
        optimizer(gradient(images)[1])


@pytest.mark.parametrize("make", [momentum, adamw])
def test_training_goes_on_from_a_restored_bundle_as_if_never_stopped(
    make: MakeOptimizer, tmp_path: Path
) -> None:
    net = Net()
    optimizer = make(net)
    steps(net, optimizer, 2)
    save_into(tmp_path, files(net, optimizer))
    steps(net, optimizer, 2)

    again = Net()
    optimizer_again = make(again)
    restore(tmp_path, files(again, optimizer_again))
    steps(again, optimizer_again, 2)
    assert equal(arrays(again), arrays(net))


def test_restoring_does_not_bring_back_other_learning_rates(tmp_path: Path) -> None:
    net = Net()
    optimizer = momentum(net)
    steps(net, optimizer, 1)
    save_into(tmp_path, files(net, optimizer))
    names = set(read_parameters(tmp_path / OPTIMIZER))
    assert names == {"global_step", *(f"moments.{p.name}" for p in net.get_parameters())}

    still = Net()
    optimizer_still = momentum(still, (0.0, 0.0, 0.0, 0.0))
    restore(tmp_path, files(still, optimizer_still))
    steps(still, optimizer_still, 1)
    assert equal(arrays(still), arrays(net))


def test_a_bundle_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    net = Net()
    save_into(tmp_path, files(net, momentum(net)))
    other = Net()
    with pytest.raises(CheckpointMismatch, match=rf"{OPTIMIZER} does not fit .*adam_m\."):
        restore(tmp_path, files(other, adamw(other)))


def test_the_weights_hold_the_network_alone_and_owners_may_delete_them(tmp_path: Path) -> None:
    net = Net()
    optimizer = momentum(net)
    save_into(tmp_path, files(net, optimizer))
    assert set(read_parameters(tmp_path / WEIGHTS)) == {p.name for p in net.get_parameters()}
    assert not set(optimizer_state(optimizer, net)) & set(arrays(net))
    assert {oct(p.stat().st_mode & 0o777) for p in tmp_path.iterdir()} == {"0o644"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_and_change_nothing(
    value: float, tmp_path: Path
) -> None:
    parameters = arrays(Net())
    parameters["body.bias"][1] = value
    net = Net()
    before = arrays(net)
    with pytest.raises(
        IntegrityError, match=r"w\.ckpt holds .* in 1 parameters, the first is body"
    ):
        load_weights(net, write(tmp_path / "w.ckpt", parameters))
    assert equal(arrays(net), before)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    good, bad = Net(), Net()
    bad.body.bias.set_data(Tensor(np.full(4, np.nan, np.float32)))
    files = {
        file: {p.name: p for p in net.get_parameters()}
        for file, net in (("good.ckpt", good), ("bad.ckpt", bad))
    }
    with pytest.raises(JobFailed, match=r"bad\.ckpt is not saved: 1 parameters .* body\.bias"):
        save_into(tmp_path, files)
    assert not any(tmp_path.iterdir())
