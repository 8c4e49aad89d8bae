"""Recipe: everything that decides what a run computes, strict and typed, in one complete file."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from mixnet_core.errors import InputError, RecipeError
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.recipe.choices import Acceptance, Attribution, Export, Selection
from mixnet_core.recipe.keys import keys_of, near_key, said, section_of
from mixnet_core.recipe.kinds import POLICIES
from mixnet_core.recipe.mindcv import from_mindcv, is_mindcv
from mixnet_core.recipe.rules import NEWEST, UNNAMED, Rules
from mixnet_core.recipe.sections import (
    Augment,
    Data,
    Devices,
    Input,
    Network,
    Optimizer,
    Precision,
    Schedule,
    Section,
    Training,
    Weights,
    Words,
)
from mixnet_core.storage.files import fingerprint, os_errors_explained, write_text
from mixnet_core.storage.uris import refuse_credentials, shown, shown_words
from mixnet_core.storage.yaml_files import Document, dump_yaml, read_yaml
from mixnet_core.storage.yaml_scalars import number_of, text_where_wanted

RECIPES = Path(__file__).parent / "bundled"
# Of a recipe: what changes nothing of what training computes.
# The rules do change it, but a run's never change: see `recipe.rules`.
NOT_COMPUTED: dict[str, Any] = {
    "name": True,
    "description": True,
    # What is left out of a training for it is on record in the run: `runs.diverged`.
    "training": {"on_divergence", "rewinds"},
    "devices": True,
    "selection": True,
    "acceptance": True,
    "export": True,
    "card": True,
    "rules": True,
}

# A file of another program has thousands, of which nobody reads all.
_MOST_FAULTS = 30
_TOO_DEEP = "a recipe has a few levels: a value holds far more, or itself"

log = logging.getLogger(__name__)


class Recipe(Section):
    """What to train, in full; `mixnet recipe show` prints one.

    A file says all, but for keys that came after the first release (`recipe.sections`).
    """

    name: Words
    description: Words
    network: Network
    weights: Weights
    data: Data
    input: Input
    augment: Augment
    training: Training
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    devices: Devices
    selection: Selection = Selection()
    acceptance: Acceptance = Acceptance()
    export: Export = Export()
    card: Attribution = Attribution()
    rules: Rules | None = Field(
        default=None,
        description="which version's rules of computing it follows, where versions differ; null: "
        "the newest for a new run, 1 in a run or release that says none",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.training.global_batch % self.ranks:
            raise ValueError(
                f"training.global_batch {self.training.global_batch} is not divisible by "
                f"{self._said_ranks}"
            )
        self._expect_virtual_ranks_that_fit()
        self._expect_hosts_that_fit()
        if self.schedule.warmup_epochs >= self.training.epochs:
            raise ValueError(
                f"schedule.warmup_epochs {self.schedule.warmup_epochs} leaves none of "
                f"training.epochs {self.training.epochs}"
            )
        if self.weights.freeze != "nothing" and self.weights.name is None:
            raise ValueError(
                f"weights.freeze {self.weights.freeze} without weights.name would keep a random "
                "backbone: name a release (--weights), or set weights.freeze to nothing"
            )
        # Strides of the stem and of four blocks; an odd side is halved to the larger half.
        smallest = -(-self.input.image_size // (16 * self.network.stem_stride))
        fewer = map(self.on_hosts, self.host_counts)
        alone = any(each.rank_batch == each.accumulation for each in fewer)
        if alone and smallest == 1 and self.weights.freeze == "nothing":
            raise ValueError(
                f"one image at a time, of {self.input.image_size} pixels, leaves a BatchNorm one "
                "value per channel, which has no variance: make devices.micro_batch, "
                "training.global_batch or input.image_size larger"
            )
        if self.devices.operators == "native" and self.precision.amp_level != "O0":
            raise ValueError(
                f"devices.operators native computes in float32, precision.amp_level is "
                f"{self.precision.amp_level}: use O0, or operators auto or plain"
            )
        POLICIES.load(self.selection.policy).check(self.training)
        return self

    def _expect_virtual_ranks_that_fit(self) -> None:
        virtual = self.training.virtual_ranks
        if virtual is None:
            return
        batch, most = self.training.global_batch, self.devices.micro_batch
        if batch % virtual:
            raise ValueError(
                f"training.global_batch {batch} is not divisible by training.virtual_ranks "
                f"{virtual}: name a divisor of it"
            )
        if virtual % self.ranks:
            raise ValueError(
                f"training.virtual_ranks {virtual} is not divisible by {self._said_ranks}: run "
                f"it on {self.ranks_of_the_same} ranks"
            )
        if most is not None and batch // virtual > most:
            raise ValueError(
                f"training.virtual_ranks {virtual} makes micro-batches of {batch // virtual}, "
                f"devices.micro_batch allows {most}: name more virtual ranks before a run begins, "
                "or allow more"
            )

    def _expect_hosts_that_fit(self) -> None:
        least, hosts, each = self.devices.min_hosts, self.devices.hosts, self.devices.ranks
        if least is None or least in self.host_counts:
            return
        fit = [count for count in range(1, hosts + 1) if self._divides_over(count)]
        virtual = self.training.virtual_ranks
        divided = f"training.global_batch {self.training.global_batch}"
        if virtual is not None:
            divided += f" and training.virtual_ranks {virtual}"
        raise ValueError(
            f"devices.min_hosts {least} of devices.hosts {hosts}: {divided} can be divided by "
            f"devices.ranks {each} x {_listed(fit)} hosts: name one of those, or null"
        )

    def _divides_over(self, hosts: int) -> bool:
        ranks = hosts * self.devices.ranks
        return not self.training.global_batch % ranks and not (
            (self.training.virtual_ranks or 0) % ranks
        )

    @property
    def host_counts(self) -> tuple[int, ...]:
        """Returns with how many hosts it may train, in order; the last is `devices.hosts`."""
        hosts = self.devices.hosts
        least = hosts if self.devices.min_hosts is None else self.devices.min_hosts
        return tuple(count for count in range(least, hosts + 1) if self._divides_over(count))

    def on_hosts(self, count: int) -> Recipe:
        """Returns the recipe for some of its hosts, as an attempt with those trains it.

        A rank has more of the global batch then, and no more of it at once: gradients of the rest
        are accumulated.

        Args:
            count: one of `host_counts`.
        """
        if count == self.devices.hosts:
            return self
        most = self.devices.micro_batch
        if most is None and self.training.virtual_ranks is None:
            most = self.rank_batch
        fewer = {"hosts": count, "min_hosts": None, "micro_batch": most}
        return self.model_copy(update={"devices": self.devices.model_copy(update=fewer)})

    @property
    def _said_ranks(self) -> str:
        """Names the keys that say how many ranks there are, with their values."""
        hosts, each = self.devices.hosts, self.devices.ranks
        if hosts == 1:
            return f"devices.ranks {each}"
        return f"devices.hosts {hosts} x devices.ranks {each}"

    @property
    def ranks(self) -> int:
        """Returns how many ranks train together: those of all hosts."""
        return self.devices.hosts * self.devices.ranks

    @property
    def fingerprint(self) -> str:
        """Returns the hex sha256 of what training computes.

        Devices are left out so that a run can be continued on another number of ranks; its global
        batch stays the same. So are what decides about its checkpoints afterwards, and keys with a
        default that have it: a later version that adds one still knows the runs begun without.
        """
        computed = self.model_dump(mode="json", exclude=NOT_COMPUTED, exclude_defaults=True)
        return fingerprint(computed)

    def follows(self, rules: Rules) -> bool:
        """Says whether what changed with these rules holds for this recipe (`recipe.rules`)."""
        return (self.rules or NEWEST) >= rules

    @property
    def short_side(self) -> int:
        """Pixels that evaluation resizes an image's shorter side to before it crops."""
        side = self.input.image_size / self.input.crop_pct
        return math.floor(side) if self.follows(2) else round(side)

    @property
    def scores_in_training(self) -> bool:
        """Tells whether checkpoints are scored when saved (`Selection.score_in_training`)."""
        training, selection = self.training, self.selection
        saved = -(-training.epochs // training.checkpoint_every_epochs)
        scored = POLICIES.load(selection.policy).best(selection) > 0
        needed = scored and saved > training.keep_checkpoints
        return selection.score_in_training == "always" or (
            selection.score_in_training == "auto" and needed
        )

    @property
    def most_checkpoints(self) -> int:
        """Bundles that are on the disk at once, at most, while a next one is written."""
        training, selection = self.training, self.selection
        saved = -(-training.epochs // training.checkpoint_every_epochs)
        policy = POLICIES.load(selection.policy)
        best = policy.best(selection)
        kept: int = max(training.keep_checkpoints, policy.last(selection)) + best
        return min(saved if best and not self.scores_in_training else kept, saved) + 1

    @property
    def rank_batch(self) -> int:
        """Images a step on one rank."""
        return self.training.global_batch // self.ranks

    @property
    def accumulation(self) -> int:
        """Returns how many equal micro-batches a rank's share of a step is, as few as allowed.

        With `training.virtual_ranks` each is one of those.
        """
        if self.training.virtual_ranks is not None:
            return self.training.virtual_ranks // self.ranks
        most = self.devices.micro_batch or self.rank_batch
        return next(
            parts
            for parts in range(-(-self.rank_batch // most), self.rank_batch + 1)
            if self.rank_batch % parts == 0
        )

    @property
    def shares(self) -> int:
        """Returns how many parts of the global batch are drawn apart: ranks, or virtual ones."""
        return self.training.virtual_ranks or self.ranks

    @property
    def ranks_of_the_same(self) -> str:
        """Names the numbers of ranks that compute the same, as in "1, 2 or 4"."""
        virtual = self.training.virtual_ranks
        if virtual is None:
            return str(self.ranks)
        return _listed([n for n in range(1, virtual + 1) if virtual % n == 0])

    def drawn_for(self, rank: int, micro_batch: int) -> tuple[int, int]:
        """Says for whom a micro-batch's random numbers are drawn: rank and micro-batch.

        Args:
            rank: of the process, from 0.
            micro_batch: its number within the step on that rank, from 0.
        """
        if self.training.virtual_ranks is None:
            return rank, micro_batch
        return rank * self.accumulation + micro_batch, 0

    @property
    def fixed_threads(self) -> int | None:
        """Returns how many threads compute on a rank where bits depend on it; None: as fits.

        oneDNN cuts the sums of a convolution's weight gradient among its threads.
        """
        if self.training.virtual_ranks is None or self.devices.target != "CPU":
            return None
        return self.devices.threads_per_rank or 1

    @property
    def lr_factor(self) -> float:
        """Returns what schedule.lr and schedule.min_lr are multiplied by (schedule.lr_batch)."""
        return self.training.global_batch / (self.schedule.lr_batch or self.training.global_batch)

    @property
    def batch_sentence(self) -> str:
        """Says how the global batch comes about, with the peak rate, as in "global batch 256 = 2
        ranks x 128, learning rate 0.05 = 0.2 scaled by 256/1024", or "= 8 virtual ranks x 32 on 2
        ranks"; of several hosts "= 4 hosts x 8 ranks x 32".
        """
        batch, ranks, parts = self.training.global_batch, self.devices.ranks, self.accumulation
        on = f"{ranks} rank{'s' if ranks > 1 else ''}"
        if self.devices.hosts > 1:
            on = f"{self.devices.hosts} hosts x {on}"
        if self.training.virtual_ranks is not None:
            factors = [f"{self.training.virtual_ranks} virtual ranks"]
            on = f" on {on}"
        else:
            factors, on = [on], ""
            factors += [f"{parts} accumulated"] if parts > 1 else []
        factors += [f"{self.rank_batch // parts:,}"]
        rate = f"{self.schedule.lr * self.lr_factor:.6g}"
        if self.lr_factor != 1:
            rate += f" = {self.schedule.lr:.6g} scaled by {batch}/{self.schedule.lr_batch}"
        return f"global batch {batch:,} = {' x '.join(factors)}{on}, learning rate {rate}"


@dataclass(frozen=True)
class RecipeFile:
    """A file's keys and values, of which `recipe` tells whether they are a recipe.

    Attributes:
        path: the file.
        data: ours, of a MindCV file too.
        document: where in the file they stand; None for a MindCV file, which has other keys.
    """

    path: Path
    data: dict[str, Any]
    document: Document | None = None

    def recipe(self, overrides: Mapping[str, Any] | None = None) -> Recipe:
        """Makes a recipe with single values replaced, dotted key -> value; see `load_recipe`."""
        data = copy.deepcopy(self.data)
        document = self.document
        for key, value in (overrides or {}).items():
            try:
                _override(data, key, number_of(value))
            except RecursionError:
                raise InputError(_TOO_DEEP) from None
            document = document and document.without(key.split("."))
        bundled = self.path.parent == RECIPES
        return parse_recipe(data, self.path.stem if bundled else str(self.path), document)


def recipe_names() -> list[str]:
    """Returns the names of the bundled recipes.

    Example:
        >>> import mixnet_core
        >>> "digits" in mixnet_core.recipe_names()
        True
    """
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Loads a bundled recipe by name or a YAML file by path, ours or MindCV's.

    Args:
        name_or_path: e.g. "digits" or "my/recipe.yaml".
        overrides: dotted key -> value, e.g. {"training.epochs": 3}; a key that the recipe does not
            have is an error.

    Raises:
        RecipeError: unknown recipe or key, wrong type, impossible value; every fault is named.

    Example:
        >>> import mixnet_core
        >>> mixnet_core.load_recipe("digits", {"training.epochs": 3}).training.epochs
        3
    """
    return read_recipe(name_or_path).recipe(overrides)


def stored_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Reads the recipe that a run or a release keeps, with the rules that it follows.

    Raises:
        RecipeError: as `load_recipe`.
    """
    return with_stored_rules(load_recipe(str(path), overrides))


def with_stored_rules(recipe: Recipe) -> Recipe:
    """Names the rules of what a run or a release kept: the first ones where it named none."""
    return recipe if recipe.rules else recipe.model_copy(update={"rules": UNNAMED})


def read_recipe(name_or_path: str) -> RecipeFile:
    """Reads a recipe without judging it; a MindCV file is converted.

    Where such a file does not mean what it seems to say, there is a warning a line. Read it once.

    Raises:
        RecipeError: no such recipe, no YAML; or a MindCV file that asks for what is not done here.
    """
    path = _find(name_or_path)
    try:
        document = read_yaml(path)
    except InputError as error:
        raise RecipeError(str(error)) from None
    data = document.value
    if not isinstance(data, dict):
        got = "NoneType: nothing stands in it" if data is None else type(data).__name__
        raise RecipeError(f"{shown(str(path))}: expected keys and values, got {got}")
    if not is_mindcv(data, sections=Recipe.model_fields):
        return RecipeFile(path, data, document)
    try:
        data, notes = from_mindcv(data, document)
    except RecipeError as error:
        raise RecipeError(f"MindCV recipe {shown(str(path))}: {error}") from None
    for note in notes:
        log.warning("%s: %s", path.name, note)
    return RecipeFile(path, data)


def parse_recipe(data: Any, where: str, document: Document | None = None) -> Recipe:
    """Makes a recipe of plain data.

    Args:
        data: keys and values.
        where: what is named in errors.
        document: says the lines that they stand in.

    Raises:
        RecipeError: as `load_recipe`.
    """
    try:
        # Lists stand for tuples in YAML: JSON mode accepts that, and is as strict otherwise.
        return Recipe.model_validate_json(_as_json(data))
    except ValidationError as error:
        faults = error.errors()
        if text_where_wanted(data, faults):
            return parse_recipe(data, where, document)
        found = "; ".join(said(item, Recipe, data, document) for item in faults[:_MOST_FAULTS])
        if len(faults) > _MOST_FAULTS:
            found += f"; and {len(faults) - _MOST_FAULTS:,} more"
        # Not kept as the cause: its text holds keys and values as they were typed.
        raise RecipeError(f"recipe {shown(where)}: {found}") from None


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the effective recipe as YAML, readable by `load_recipe`.

    Raises:
        InputError: credentials stand in it, which a copy with changes is not checked for.
        MachineError: it cannot be written.
    """
    data = recipe.model_dump(mode="json")
    refuse_credentials(data)
    write_text(path, dump_yaml(data))


def _find(name_or_path: str) -> Path:
    if name_or_path in recipe_names():
        return RECIPES / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    with os_errors_explained(shown(name_or_path), "read"):
        if path.is_file():
            return path
        what = "a folder, neither a file" if path.is_dir() else "neither a file"
    raise RecipeError(
        f"no recipe {shown(name_or_path)!r}: {what} nor one of {', '.join(recipe_names())}"
        f"{did_you_mean(name_or_path, recipe_names())}"
    )


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    section: Any = data
    if sections and (field := Recipe.model_fields.get(sections[0])) and not field.is_required():
        # A section that came later, which the file need not have.
        data.setdefault(sections[0], {})
    for name in sections:
        section = section.get(name) if isinstance(section, dict) else None
    model = section_of(Recipe, sections)
    if not isinstance(section, dict) or model is None or last not in keys_of(model):
        raise RecipeError(
            f"the recipe has no key {shown_words(key)!r} to override{near_key(Recipe, key)}: "
            "`mixnet recipe show` lists all"
        )
    section[last] = value


def _listed(numbers: Sequence[int]) -> str:
    """Lists numbers to choose from, as in "1, 2 or 4"."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last


def _as_json(data: Any) -> str:
    try:
        return json.dumps(data)
    except TypeError as error:
        raise InputError(f"a recipe holds only numbers, text, lists and keys: {error}") from error
    except (ValueError, RecursionError):
        raise InputError(_TOO_DEEP) from None
