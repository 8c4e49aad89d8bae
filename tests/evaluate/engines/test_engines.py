"""Both engines on the same files; the graph that OpenVINO is given is exported for real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.typing import NDArray

import mixnet_core
from mixnet_core.data.batches import evaluation_batches
from mixnet_core.data.given import GivenImages, read_file
from mixnet_core.data.index import SPLITS, Index, read_index
from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import CheckpointMismatch, MachineError
from mixnet_core.evaluate import onnx_export
from mixnet_core.evaluate.engine import Engine, choose_engine, open_engine
from mixnet_core.evaluate.openvino_engine import OpenvinoEngine, images_per_pass
from mixnet_core.model.mixnet import build_model
from mixnet_core.recipe.recipe import Recipe, load_recipe
from tests.model.reference import weight

CLASSES, BATCH = 10, 50
# Of the logits' spread: the engines add in different orders.
TOLERANCE = 1e-4
KINDS = {"moving_mean": "mean", "moving_variance": "var", "gamma": "bn_scale"}


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    splits: dict[str, Index]
    a: Path
    b: Path


def recipe_with(**changes: Any) -> Recipe:
    settings = {key.replace("__", "."): value for key, value in changes.items()}
    return load_recipe("digits", {"input.image_size": 8, **settings})


def network(recipe: Recipe) -> nn.Cell:
    return build_model(
        "s",
        CLASSES,
        recipe.network.in_channels,
        flavour=recipe.network.flavour,
        stem_stride=recipe.network.stem_stride,
    ).set_train(False)


def write_weights(path: Path, recipe: Recipe) -> Path:
    """Weights whose logits differ from image to image, others for every name of a file."""
    rows = []
    for p in network(recipe).get_parameters():
        kind = KINDS.get(p.name.split(".")[-1]) or {1: "bias", 2: "dense", 4: "conv"}[p.ndim]
        rows.append({"name": p.name, "data": Tensor(weight(path.stem + p.name, p.shape, kind))})
    mindspore.save_checkpoint(rows, str(path))
    return path


def logits_of(engine: Engine, index: Index) -> NDArray[np.float32]:
    batches = list(engine.logits(index, index.positions))
    positions = [i for batch in batches for i in batch.positions.tolist()]
    assert positions == list(range(len(index.paths)))
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(labels, index.labels)
    return np.concatenate([batch.logits for batch in batches])


def expect_equal(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    assert ours.dtype == theirs.dtype == np.float32
    assert theirs.std(axis=0).min() > 0.01, "these logits do not tell the images apart"
    allowed = TOLERANCE * theirs.std()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=allowed)
    first, second = np.sort(theirs, axis=1)[:, :-3:-1].T
    clear = first - second > 2 * allowed
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(ours.argmax(1)[clear], theirs.argmax(1)[clear])


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    root = tmp_path_factory.mktemp("engines")
    before = mindspore.get_context("mode")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXNET_CACHE", str(root / "cache"))
        recipe = recipe_with()
        dataset = Path(prepare_dataset(recipe.data, root / "datasets").root)
        yield Case(
            recipe,
            {split: read_index(dataset, split) for split in SPLITS},
            write_weights(root / "a.ckpt", recipe),
            write_weights(root / "b.ckpt", recipe),
        )
    mindspore.set_context(mode=before)


@pytest.fixture(scope="module")
def openvino(case: Case) -> Engine:
    return open_engine(case.recipe, CLASSES, batch=BATCH, threads=2)


@pytest.fixture(scope="module")
def mindspores(case: Case) -> Engine:
    recipe = recipe_with(devices__engine="mindspore")
    return open_engine(recipe, CLASSES, batch=BATCH, threads=2)


def test_openvino_gives_mindspores_logits_for_every_digit(
    case: Case, openvino: Engine, mindspores: Engine
) -> None:
    assert sum(len(index.paths) for index in case.splits.values()) == 1797
    for engine in (openvino, mindspores):
        engine.load(case.a)
    for index in case.splits.values():
        # Neither the batch nor a pass divides them: the last of both is shorter.
        assert len(index.paths) % BATCH % images_per_pass(case.recipe, BATCH)
        expect_equal(logits_of(openvino, index), logits_of(mindspores, index))


def test_each_weights_file_gives_logits_of_its_own(
    case: Case, openvino: Engine, mindspores: Engine
) -> None:
    index = case.splits["select"]
    openvino.load(case.a)
    first = logits_of(openvino, index)
    openvino.load(case.b)
    mindspores.load(case.b)
    second = logits_of(openvino, index)
    expect_equal(second, logits_of(mindspores, index))
    assert np.abs(first - second).max() > first.std()
    openvino.load(case.a)
    np.testing.assert_array_equal(logits_of(openvino, index), first)


def test_features_times_the_classifier_are_the_logits(
    case: Case, openvino: Engine, mindspores: Engine
) -> None:
    index = case.splits["select"]
    parameters = mindspore.load_checkpoint(str(case.a))
    weight, bias = (parameters[f"classifier.{name}"].asnumpy() for name in ("weight", "bias"))
    found = []
    for engine in (openvino, mindspores):
        engine.load(case.a, features=True)
        batches = list(engine.logits(index, index.positions))
        features = np.concatenate([b.features for b in batches if b.features is not None])
        logits = np.concatenate([batch.logits for batch in batches])
        assert features.shape == (len(index.paths), weight.shape[1])
        assert features.dtype == np.float32
        np.testing.assert_allclose(
            features @ weight.T + bias, logits, rtol=0, atol=TOLERANCE * logits.std()
        )
        found.append(features)
        engine.load(case.a)
        # Asking for them changes no logit, and without asking there are none.
        np.testing.assert_array_equal(logits_of(engine, index), logits)
        assert next(iter(engine.logits(index, index.positions))).features is None
    ours, theirs = found
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * theirs.std())


def test_a_given_image_that_cannot_be_read_changes_no_other_ones_logits(
    case: Case, openvino: Engine, mindspores: Engine, tmp_path: Path
) -> None:
    index = case.splits["select"]
    paths = [str(index.root / path) for path in index.paths[: BATCH + 7]]
    (tmp_path / "bad.png").write_text("no picture")
    paths[3] = str(tmp_path / "bad.png")
    for engine in (openvino, mindspores):
        engine.load(case.a)
        images = GivenImages([partial(read_file, path) for path in paths])
        batches = list(engine.logits(images, images.positions))
        logits = np.concatenate([batch.logits for batch in batches])
        assert images.unreadable == {3: "not an image"}
        kept = np.arange(len(paths)) != 3
        expect_equal(logits[kept], logits_of(engine, index)[: len(paths)][kept])


def test_a_file_of_another_network_is_refused(case: Case, tmp_path: Path) -> None:
    engine = open_engine(case.recipe, 7, batch=BATCH, threads=1)
    with pytest.raises(CheckpointMismatch, match=r"classifier\.weight has shape \(10, 1536\)"):
        engine.load(case.a)


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_the_batch_does_not_matter(case: Case, openvino: Engine, batch: int) -> None:
    index = case.splits["select"]
    openvino.load(case.a)
    engine = open_engine(case.recipe, CLASSES, batch=batch, threads=1)
    engine.load(case.a)
    expect_equal(logits_of(engine, index), logits_of(openvino, index))


@pytest.mark.parametrize(
    "changes",
    [
        {"network__flavour": "timm", "network__in_channels": 1},
        # Odd, so that "same" padding is not symmetric.
        {"network__flavour": "tf", "network__stem_stride": 2, "input__image_size": 21},
    ],
    ids=["timm-grey", "tf-same-padding"],
)
def test_other_flavours_and_grey_images_give_the_logits_of_mindspores_single_operators(
    case: Case, tmp_path: Path, changes: dict[str, Any]
) -> None:
    # Three unequal means and deviations: a channel that is taken for another would show.
    recipe = recipe_with(input__mean=[70.0, 80.0, 90.0], input__std=[90.0, 80.0, 70.0], **changes)
    file = write_weights(tmp_path / "w.ckpt", recipe)
    index = case.splits["select"]
    engine = open_engine(recipe, CLASSES, batch=64, threads=2)
    engine.load(file)
    ours = logits_of(engine, index)
    batches = evaluation_batches(index, index.positions, recipe, batch=64, threads=1)
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    net = network(recipe)
    mindspore.load_param_into_net(net, mindspore.load_checkpoint(str(file)), strict_load=True)
    expect_equal(ours, np.concatenate([net(Tensor(b.images)).asnumpy() for b in batches]))


def test_whoever_stops_early_leaves_nothing_running(case: Case, tmp_path: Path) -> None:
    # Large enough for passes of several milliseconds.
    recipe = recipe_with(input__image_size=160, network__stem_stride=2)
    engine = OpenvinoEngine(recipe, CLASSES, batch=2, threads=2)
    engine.load(write_weights(tmp_path / "w.ckpt", recipe))
    select = case.splits["select"]
    stopped = engine.logits(select, select.positions)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert all(request.wait_for(0) for request in engine._requests)


def test_openvino_computes_in_float32_on_the_threads_it_is_given(case: Case) -> None:
    for threads in (1, 2):
        engine = OpenvinoEngine(case.recipe, CLASSES, batch=BATCH, threads=threads)
        engine.load(case.a)
        compiled = engine._requests[0].get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
        assert compiled.input(0).get_element_type().get_type_name() == "u8"


def test_an_export_whose_parameters_have_other_names_is_refused_in_one_line(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OpenvinoEngine(case.recipe, CLASSES, batch=BATCH, threads=1)
    engine._graph = engine._graph.replace(b"stem_conv.0.weight", b"stem_conv.0.wxight")
    with pytest.raises(MachineError, match=r"2 param.*stem_conv\.0\.w.*set devices\.engine") as e:
        engine.load(case.a)
    assert "\n" not in str(e.value)
    engine._graph = b"no graph"
    with pytest.raises(MachineError, match=r"set devices\.engine to mindspore") as e:
        engine.load(case.a)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("size", "stride", "batch", "images"),
    [
        (224, 2, 64, 1),
        (112, 2, 64, 1),
        (56, 2, 64, 4),
        (28, 1, 64, 4),
        (8, 1, 64, 32),
        (8, 1, 7, 4),
    ],
)
def test_small_images_pass_together(size: int, stride: int, batch: int, images: int) -> None:
    recipe = recipe_with(input__image_size=size, network__stem_stride=stride)
    assert images_per_pass(recipe, batch) == images


def test_openvino_is_the_choice_on_a_cpu_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    auto = recipe_with().devices
    assert choose_engine(auto) == "openvino"
    assert choose_engine(auto.model_copy(update={"target": "Ascend"})) == "mindspore"
    assert choose_engine(auto.model_copy(update={"engine": "mindspore"})) == "mindspore"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose_engine(auto) == "mindspore"
    with pytest.raises(MachineError, match="pip install openvino"):
        choose_engine(auto.model_copy(update={"engine": "openvino"}))


def python(program: str, home: Path) -> None:
    # An openvino that believes itself in CI sends nothing anyway.
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_mindspore_evaluates_where_openvino_cannot_be_imported(tmp_path: Path) -> None:
    python(
        "import sys\n"
        "sys.modules['openvino'] = None\n"
        "import mixnet_core.evaluate.scoring\n"
        "from mixnet_core.evaluate import engine as engines, mindspore_engine\n"
        "from mixnet_core.recipe.recipe import load_recipe\n"
        "mindspore_engine.MindsporeEngine = lambda *_, **__: 'mindspore'\n"
        "engine = engines.open_engine(load_recipe('digits'), 10, batch=1, threads=1)\n"
        "assert engine == 'mindspore'\n",
        tmp_path,
    )


def test_openvino_is_imported_without_the_package_that_reports_its_use(tmp_path: Path) -> None:
    python(
        "import sys\n"
        "from mixnet_core.evaluate.openvino_engine import import_openvino\n"
        "assert import_openvino().Core\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]\n",
        tmp_path,
    )
    assert not list(tmp_path.rglob("*openvino*"))


def test_ctrl_c_is_no_segmentation_fault_after_models_that_went_in_another_order(
    tmp_path: Path,
) -> None:
    python(
        "import faulthandler, signal\n"
        # As pytest does: what makes OpenVINO's own way of putting things back matter.
        "faulthandler.enable()\n"
        "from mixnet_core.evaluate.openvino_package import import_openvino, openvino_core\n"
        "op = import_openvino().opset13\n"
        "def compiled():\n"
        "    given = op.parameter([1, 3])\n"
        "    model = import_openvino().Model([op.relu(given)], [given])\n"
        "    return openvino_core().compile_model(model, 'CPU')\n"
        "first, second = compiled(), compiled()\n"
        "del first\n"
        "del second\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    raise SystemExit(0)\n"
        "raise SystemExit(1)\n",
        tmp_path,
    )


def test_nothing_makes_a_second_core() -> None:
    (package,) = mixnet_core.__path__
    makers = [
        path.name for path in Path(package).rglob("*.py") if "openvino.Core()" in path.read_text()
    ]
    assert makers == []


def test_the_graph_holds_no_weights_and_is_exported_once(
    case: Case, openvino: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "_exported", None)
    assert len(onnx_export.network_graph(case.recipe, CLASSES)) < 1_000_000
