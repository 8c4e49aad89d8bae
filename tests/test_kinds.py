"""Each of these adds one of a kind as one new file or one row, and touches nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixnet_core.data.prepare import prepare_dataset
from mixnet_core.errors import RecipeError
from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.engine import choose_engine, open_engine
from mixnet_core.kinds.kind import Kind
from mixnet_core.processes import device_faults
from mixnet_core.processes.failure import cause_of
from mixnet_core.recipe.kinds import DEMANDS, ENGINES, OPTIMIZERS, POLICIES, SCHEDULES, SOURCES
from mixnet_core.recipe.lines import recipe_lines
from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import list_releases
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.values import Candidate, Checkpoint, Score
from mixnet_core.stages.check import check_data
from mixnet_core.stages.check_machine import check_disk
from mixnet_core.stages.demand import judged_demands
from mixnet_core.stages.options import adjusted_recipe
from mixnet_core.stages.policy import choose, rule
from mixnet_core.storage.open import SCHEMES, open_storage
from mixnet_core.train.schedule import learning_rates

Add = Callable[[Kind[object], str, str], None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Puts a file beside those of a kind, for the test only."""
    added: list[str] = []

    def put(kind: Kind[object], name: str, source: str) -> None:
        folder = tmp_path / "added" / kind.package
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)
        package = importlib.import_module(kind.package)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        importlib.invalidate_caches()
        added.append(f"{kind.package}.{name}")

    yield put
    for module in added:
        sys.modules.pop(module, None)
        parent, _, name = module.rpartition(".")
        if hasattr(sys.modules[parent], name):
            delattr(sys.modules[parent], name)


SOURCE = '''
from pathlib import Path
from mixnet_core.data.account import Tally
from mixnet_core.data.class_folders import class_names, listed_split, listing_digest
from mixnet_core.data.source import Claim, DataSource, Source

class Flat(DataSource):
    """Class folders at once, as torchvision's ImageFolder takes them; no val split."""

    needs_path = True
    are_files = True

    def claim(self, folder, *, expected):
        return Claim.SHOWN if (folder / "flat.txt").is_file() else Claim.NO

    def classes(self, data):
        return class_names(Path(data.path))

    def quick(self, data, datasets):
        return self.open(data, datasets, None)

    def open(self, data, datasets, fetch):
        root = Path(data.path)
        named = self.classes(data)
        labels = {name: label for label, name in enumerate(named)}
        listing = listed_split(root.parent, root.name, named, labels, Tally(root))
        return Source(
            identity={"listing": listing_digest(root, listing.lines)},
            classes=named, train=listing.as_images(root.parent), val=None,
        )

SOURCE = Flat()
'''


def test_a_data_source_is_one_file(add: Add, tmp_path: Path) -> None:
    add(SOURCES, "flat", SOURCE)
    root = tmp_path / "images"
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name / f"{number}.png")
    (root / "flat.txt").write_text("")
    recipe = adjusted_recipe("finetune", data=str(root), settings={"weights.name": None})
    assert recipe.data.source == "flat"
    assert "2 classes" in check_data(recipe.data, tmp_path).detail
    dataset = prepare_dataset(recipe.data, tmp_path / "datasets")
    assert dataset.classes == ("ant", "bee")
    assert sum(dataset.counts.values()) == 12
    assert check_disk(recipe, Workspace(tmp_path)).ok
    with pytest.raises(RecipeError, match=r"data\.source flat needs data\.path"):
        load_recipe("finetune", {"data.source": "flat", "data.path": None})


def test_a_source_that_only_opens_is_left_to_preparing(add: Add, tmp_path: Path) -> None:
    whole = SOURCE[: SOURCE.index("    def quick")] + SOURCE[SOURCE.index("    def open") :]
    add(SOURCES, "flat", whole)
    recipe = load_recipe("finetune", {"data.source": "flat", "data.path": str(tmp_path)})
    assert check_data(recipe.data, tmp_path).detail == f"{tmp_path}: looked at when it is prepared"


SCHEME = """
from pathlib import Path
from mixnet_core.storage.schemes.file import FileStorage

class _Temporary:
    def open(self, rest, uri):
        storage = FileStorage(Path("/tmp") / rest)
        storage.uri = uri
        return storage

SCHEME = _Temporary()
"""


def test_a_storage_scheme_is_one_file(add: Add, tmp_path: Path) -> None:
    add(SCHEMES, "temporary", SCHEME)
    where = f"temporary://{tmp_path.relative_to('/tmp')}/releases"
    weights = tmp_path / "w.ckpt"
    weights.write_bytes(b"weights")
    publish_release("mine", registry=where, files={"weights": weights}, facts={})
    assert [release.name for release in list_releases(where)] == ["mine"]
    assert open_storage(where).names() == ["mine/"]


ENGINE = """
import numpy as np
from mixnet_core.evaluate.counting import JUDGED
from mixnet_core.evaluate.engine import BatchLogits, EngineKind

class Guesses:
    name = "guesses 1, CPU, float32"

    def load(self, weights, *, ema=False):
        pass

    def logits(self, index, positions):
        logits = np.zeros((len(positions), 10), np.float32)
        yield BatchLogits(logits, index.labels[positions], positions)

class Kind(EngineKind):
    reads = (".guess",)

    def preference(self, devices):
        return 0

    def open(self, recipe, classes, *, suffix, batch, threads):
        return Guesses()

ENGINE = Kind()
"""


def test_an_engine_is_one_file(add: Add) -> None:
    add(ENGINES, "guesses", ENGINE)
    recipe = load_recipe("digits", {"devices.engine": "guesses"})
    assert choose_engine(recipe.devices) == "guesses"
    engine = open_engine(recipe, 10, batch=1, threads=1, suffix=".guess")
    assert engine.name.startswith("guesses")
    # Where the recipe names another one, the files decide.
    engine = open_engine(load_recipe("digits"), 10, batch=1, threads=1, suffix=".guess")
    assert engine.name.startswith("guesses")
    assert choose_engine(load_recipe("digits").devices) != "guesses"


OPTIMIZER = """
from mixnet_core.train.optimizer_kind import OptimizerKind

class Plain(OptimizerKind):
    states = 0

    def build(self, parameters, settings, *, rates, rate_factors, decays):
        from mindspore import nn
        return nn.SGD(parameters, learning_rate=rates)

OPTIMIZER = Plain()
"""


def test_an_optimizer_is_one_file(add: Add, tmp_path: Path) -> None:
    add(OPTIMIZERS, "plain_sgd", OPTIMIZER)
    recipe = load_recipe("digits", {"optimizer.name": "plain_sgd"})
    assert any("plain_sgd" in line for line in recipe_lines(recipe))
    assert check_disk(recipe, Workspace(tmp_path)).ok
    with pytest.raises(RecipeError, match="nesterov needs"):
        load_recipe("digits", {"optimizer.name": "plain_sgd", "optimizer.nesterov": True})

    import mindspore
    from mindspore import Parameter, Tensor, nn

    from mixnet_core.train.optimizer import build_optimizer

    net = nn.Dense(2, 1, weight_init="ones", has_bias=False)
    optimizer = build_optimizer(net, recipe, [0.5, 0.5])
    optimizer((Tensor(np.ones((1, 2)), mindspore.float32),))
    assert isinstance(net.weight, Parameter)
    assert np.allclose(net.weight.asnumpy(), 0.5)


SCHEDULE = """
class Linear:
    def rate(self, step, steps, *, lr, min_lr):
        return lr + (min_lr - lr) * step / steps

SCHEDULE = Linear()
"""


def test_a_learning_rate_schedule_is_one_file(add: Add) -> None:
    add(SCHEDULES, "linear", SCHEDULE)
    changes = {
        "schedule.name": "linear",
        "schedule.lr": 1.0,
        "schedule.min_lr": 0.0,
        "schedule.warmup_epochs": 0.0,
        "schedule.decay_epochs": 2.0,
    }
    recipe = load_recipe("digits", changes)
    assert learning_rates(recipe.schedule, steps_per_epoch=2, epochs=2) == [1.0, 0.75, 0.5, 0.25]
    assert recipe.fingerprint != load_recipe("digits").fingerprint


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(RecipeError, match=r"schedule\.name: input should be 'cosine', got 'step'"):
        load_recipe("digits", {"schedule.name": "step"})


POLICY = """
from mixnet_core.stages.policy import Policy

class First(Policy):
    rule = "the first"

    def choose(self, candidates):
        return candidates[0].checkpoint

POLICY = First()
"""


def test_a_selection_policy_is_one_file(add: Add) -> None:
    add(POLICIES, "first", POLICY)
    selection = load_recipe("digits", {"selection.policy": "first"}).selection
    score = Score(count=1, correct1=1, correct5=1, loss=0.0)
    candidates = [
        Candidate(
            checkpoint=Checkpoint(path=f"/{step}", step=step, epoch=1, weights_sha256=""),
            score=score,
        )
        for step in (1, 2)
    ]
    assert choose(selection, candidates).step == 1
    assert rule(selection, 0) == "the first"


DEMAND = """
from mixnet_core.runs.values import Check
from mixnet_core.stages.demand import Demand

class Most(Demand):
    def check(self, value):
        if value < 1:
            raise ValueError("acceptance.max_wrong must be at least 1")

    def judge(self, value, rows, classes):
        wrong = int((rows["place"] > 0).sum())
        return Check(ok=wrong <= value, line=f"{wrong} wrong, at most {value}")

DEMAND = Most()
"""


def test_an_acceptance_check_is_one_file(add: Add) -> None:
    add(DEMANDS, "max_wrong", DEMAND)
    wanted = load_recipe("digits", {"acceptance.max_wrong": 1}).acceptance
    rows = np.zeros(3, JUDGED)
    rows["place"] = [0, 1, 2]
    (check,) = judged_demands(wanted, rows, ("ant", "bee"))
    assert (check.ok, check.line) == (False, "2 wrong, at most 1")
    with pytest.raises(RecipeError, match="max_wrong must be at least 1"):
        load_recipe("digits", {"acceptance.max_wrong": 0})
    with pytest.raises(RecipeError, match=r"did you mean acceptance\.max_wrong"):
        load_recipe("digits", {"acceptance.max_wrongs": 1})


def test_a_cause_of_failure_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = device_faults._row("coffee in the keyboard", "coffee", True, "dry it")
    monkeypatch.setattr(device_faults, "FAULTS", (row, *device_faults.FAULTS))
    (tmp_path / "log.txt").write_text("...\nERROR: coffee in the keyboard\n")
    error = cause_of("job", tmp_path, 1, ranks=1)
    assert error.retryable
    assert "job: coffee (ERROR: coffee in the keyboard); dry it: trying again helps" in str(error)


def test_a_file_that_is_none_of_the_kind_is_not_offered(add: Add) -> None:
    add(SOURCES, "_helper", "")
    assert "_helper" not in SOURCES.names()
    with pytest.raises(RecipeError, match=r"data\.source: input should be 'digits', "):
        load_recipe("digits", {"data.source": "flowers"})


@pytest.mark.parametrize("value", [None, 1, [], {}])
def test_a_choice_of_another_type_is_refused_with_what_it_may_be(value: object) -> None:
    with pytest.raises(
        RecipeError, match=r"data\.source: input should be 'digits', .* or 'prepared'"
    ):
        load_recipe("digits", {"data.source": value})


@pytest.mark.parametrize("suffix", [".bin", ".CKPT", ""])
def test_a_suffix_that_no_engine_reads_is_left_to_the_chosen_one(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ENGINES.load(choose_engine(load_recipe("digits").devices))
    monkeypatch.setattr(type(chosen), "open", lambda *_, **given: given["suffix"])
    assert open_engine(load_recipe("digits"), 10, suffix=suffix, batch=1, threads=1) == suffix  # type: ignore[comparison-overlap]
