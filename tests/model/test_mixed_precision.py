"""What MindSpore computes in float16 at each level of mixed precision, on this network's layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn
from numpy.typing import NDArray

from mixnet_core.model.layers import PlainLayers
from mixnet_core.model.mixnet import MixNet
from mixnet_core.model.variants import FLAVOURS, Block, Variant
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.stages.train import _training_operators
from mixnet_core.train.learner import freeze_backbone
from mixnet_core.train.precision import at_level
from mixnet_core.train.step import Gradients

LEVELS = ("O1", "O2", "O3")
ALL_LEVELS = pytest.mark.parametrize("level", LEVELS)
# Between two float16 numbers; each level must round it where it computes in float16.
FINE = np.float32(1 + 2**-12)
CLASSES, PIXELS = 3, 12


# A network's graph takes long to compile, a layer's does not.
MODES = pytest.mark.parametrize("mode", ["eager", "graph"], indirect=True)


@pytest.fixture(autouse=True)
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    before = mindspore.get_context("mode")
    graph = getattr(request, "param", "eager") == "graph"
    mindspore.set_context(mode=mindspore.GRAPH_MODE if graph else mindspore.PYNATIVE_MODE)
    yield
    mindspore.set_context(mode=before)


def network() -> MixNet:
    """One block of each kind, a gated one with two kernels among them."""
    mindspore.set_seed(2)
    blocks = (
        Block(8, (3,), 1, 1, 1, 1, "relu", 0.0),
        Block(8, (3, 5), 2, 2, 1, 3, "swish", 0.5),
    )
    return MixNet(
        Variant(8, blocks, head_channels=16), PlainLayers(FLAVOURS["mindcv"]), CLASSES, 3, 1
    )


def images() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.standard_normal((4, 3, PIXELS, PIXELS)).astype(np.float32)


def targets() -> Tensor:
    return Tensor(np.eye(CLASSES, dtype=np.float32)[[0, 1, 2, 0]])


class One(nn.Cell):
    """A layer in a cell of its own, as rewriting needs it."""

    def __init__(self, layer: nn.Cell) -> None:
        super().__init__()
        self.layer = layer

    def construct(self, x: Tensor) -> Tensor:
        return self.layer(x)


@MODES
@pytest.mark.parametrize("level", ["O0", *LEVELS])
@pytest.mark.parametrize("kind", ["convolution", "dense"])
def test_weighted_layers_round_their_input_to_float16_at_every_level_but_o0(
    level: str, kind: str
) -> None:
    layer = (
        PlainLayers(FLAVOURS["mindcv"]).pointwise(1, 1).grouped_conv
        if kind == "convolution"
        else nn.Dense(1, 1)
    )
    layer.weight.set_data(Tensor(np.ones(layer.weight.shape, np.float32)))
    if kind == "dense":
        layer.bias.set_data(Tensor(np.zeros(1, np.float32)))
    shape = (1, 1, 1, 1) if kind == "convolution" else (1, 1)
    y = at_level(One(layer), level)(Tensor(np.full(shape, FINE)))
    assert y.dtype == mindspore.float32
    assert y.asnumpy().item() == (FINE if level == "O0" else 1)


@MODES
@pytest.mark.parametrize(("level", "rounds"), [("O1", False), ("O2", True), ("O3", True)])
def test_a_batch_norm_answers_in_float16_at_o2_and_o3(level: str, rounds: bool) -> None:
    norm = PlainLayers(FLAVOURS["mindcv"]).norm_act(1, None)[0]
    x = images()[:, :1]
    y = at_level(One(norm), level).set_train()(Tensor(x)).asnumpy()
    assert np.array_equal(y, y.astype(np.float16)) == rounds
    np.testing.assert_allclose(y, (x - x.mean()) / x.std(), rtol=0, atol=5e-3)


@MODES
@ALL_LEVELS
def test_a_batch_norms_statistics_are_kept_in_float32_at_every_level(level: str) -> None:
    norm = PlainLayers(FLAVOURS["mindcv"]).norm_act(1, None)[0]
    x = images()[:, :1]
    at_level(One(norm), level).set_train()(Tensor(x))
    seen = x if level == "O1" else x.astype(np.float16).astype(np.float32)
    mean, variance = norm.moving_mean.asnumpy(), norm.moving_variance.asnumpy()
    assert mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(mean, 0.1 * seen.mean(dtype=np.float64), rtol=2e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * seen.var(ddof=1, dtype=np.float64), rtol=2e-6)
    assert mean != mean.astype(np.float16)


@ALL_LEVELS
def test_weights_gradients_and_logits_are_float32_under_their_names_at_every_level(
    level: str,
) -> None:
    net = network()
    names = [parameter.name for parameter in net.get_parameters()]
    computing = at_level(net, level).set_train()
    assert [parameter.name for parameter in computing.get_parameters()] == names
    loss, gradients = Gradients(computing, ParameterTuple(net.trainable_params()), 64.0)(
        Tensor(images()), targets()
    )
    assert computing(Tensor(images())).dtype == loss.dtype == mindspore.float32
    assert {g.dtype for g in gradients} == {mindspore.float32}
    assert {p.dtype for p in net.get_parameters()} == {mindspore.float32}
    exact_net = network().set_train()
    exact_loss, _ = Gradients(exact_net, ParameterTuple(exact_net.trainable_params()), 64.0)(
        Tensor(images()), targets()
    )
    assert float(loss.asnumpy()) == pytest.approx(float(exact_loss.asnumpy()), rel=2e-2)


@ALL_LEVELS
def test_what_is_frozen_stays_in_evaluation_at_every_level(level: str) -> None:
    """The learner freezes the network after it was cast: levels wrap or rewrite its cells."""
    net = network()
    computing = at_level(net, level)
    computing.set_train()
    freeze_backbone(net)
    before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    assert [p.name for p in net.trainable_params()] == ["classifier.weight", "classifier.bias"]
    Gradients(computing, ParameterTuple(net.trainable_params()), 1.0)(Tensor(images()), targets())
    for parameter in net.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), before[parameter.name], parameter.name)


class Logits(nn.Cell):
    """Answers with a parameter, in float16, as a network at O3 does inside."""

    def __init__(self, row: list[float]) -> None:
        super().__init__()
        self.row = Parameter(Tensor([row], mindspore.float32), name="row")

    def construct(self, x: Tensor, features: Tensor | None, paths: Tensor | None) -> Tensor:
        return (self.row * x).astype(mindspore.float16)


@MODES
def test_the_loss_of_float16_logits_is_computed_in_float32() -> None:
    net = Logits([60000.0, -60000.0])
    target = Tensor([[0.0, 1.0]], mindspore.float32)
    one = Tensor([[1.0]], mindspore.float32)
    loss, _ = Gradients(net, ParameterTuple(net.trainable_params()), 1.0)(one, target)
    # Float16's own difference and sum would be infinite.
    assert float(loss.asnumpy()) == pytest.approx(2 * np.float32(np.float16(60000)))


@MODES
@pytest.mark.parametrize(("scale", "survives"), [(1.0, False), (1024.0, True)])
def test_a_gradient_too_small_for_float16_survives_by_the_loss_scale(
    scale: float, survives: bool
) -> None:
    net = Logits([18.0, 0.0])
    target = Tensor([[1.0, 0.0]], mindspore.float32)
    one = Tensor([[1.0]], mindspore.float32)
    _, (gradient,) = Gradients(net, ParameterTuple(net.trainable_params()), scale)(one, target)
    # Of the wrong class; the right one's is too close to 0 for float32 already.
    wrong = gradient.asnumpy()[0, 1]
    assert wrong == pytest.approx(scale / (1 + np.exp(18.0)) if survives else 0, rel=1e-2)


@ALL_LEVELS
def test_dropped_features_and_paths_stay_dropped_at_every_level(level: str) -> None:
    """O1 rewrites the network's own code, loops and conditions included."""
    x = Tensor(images())
    none = Tensor(np.zeros((4, 16), np.float32))
    exact, net = network().set_train(False), network()
    cast = at_level(net, level).set_train(False)
    assert exact.residual_depths == net.residual_depths
    assert len(exact.residual_depths) == 2
    paths = {share: Tensor(np.full((4, 2), share, np.float32)) for share in (0, 1)}
    logits = {share: cast(x, None, path).asnumpy() for share, path in paths.items()}
    for share, path in paths.items():
        expected = exact(x, None, path).asnumpy()
        off = np.abs(logits[share] - expected).max()
        assert off < 0.02 * expected.std(), share
    assert np.abs(logits[0] - logits[1]).max() > 0.1 * logits[1].std()
    net.classifier.bias.set_data(Tensor(np.arange(CLASSES, dtype=np.float32)))
    np.testing.assert_array_equal(cast(x, none).asnumpy(), [[0, 1, 2]] * 4)


@ALL_LEVELS
def test_training_at_a_level_takes_plain_operators(level: str) -> None:
    """The native ones are for float32; each level would hand them float16."""
    settings = {"precision.amp_level": level, "devices.operators": "auto"}
    assert _training_operators(load_recipe("digits", settings)) == "plain"


def test_o1_leaves_no_code_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at_level(network(), "O1")
    assert Path.cwd() == tmp_path
    assert not any(tmp_path.iterdir())
