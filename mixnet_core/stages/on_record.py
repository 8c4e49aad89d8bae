"""What a run has on record for the next stage, each result made from those that stand before it.

A subcommand starts from records alone. Between them a stage may have been run again with something
else; what was made from what stood there before is then refused by the stage's name, not taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixnet_core.errors import InputError
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.records import recorded
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import (
    FetchedWeights,
    PreparedDataset,
    Selection,
    TrainedRun,
    Validation,
)
from mixnet_core.stages.made_from import (
    fetch_inputs,
    prepare_inputs,
    select_inputs,
    train_inputs,
    validate_inputs,
)


@dataclass(frozen=True)
class OnRecord:
    """One run's results.

    Every method raises:
        InputError: that stage or one before it has not finished, or was made from something else
            than what stands before it now; the stage to run again is named.
        IntegrityError: a record is damaged.
    """

    recipe: Recipe
    run: RunDir

    def dataset(self) -> PreparedDataset:
        """Returns what `prepare` left."""
        return recorded(self.run, "prepare", PreparedDataset, prepare_inputs(self.recipe))

    def weights(self) -> FetchedWeights | None:
        """Returns what `fetch` left; None where training starts from scratch."""
        if self.recipe.weights.name is None:
            return None
        return recorded(self.run, "fetch", FetchedWeights, fetch_inputs(self.recipe))

    def trained(self) -> TrainedRun:
        """Returns what `train` left."""
        inputs = train_inputs(self.recipe, self.dataset(), self.weights())
        return recorded(self.run, "train", TrainedRun, inputs)

    def selection(self) -> Selection:
        """Returns what `select` left."""
        inputs = select_inputs(self.recipe, self.dataset(), self.trained())
        return recorded(self.run, "select", Selection, inputs)

    def validation(self) -> Validation:
        """Returns what `validate` left."""
        inputs = validate_inputs(self.recipe, self.dataset(), self.selection().chosen)
        validation = recorded(self.run, "validate", Validation, inputs)
        if not validation.answers_sha256:
            raise InputError(
                f"stage validate of run {self.run.name} was recorded by an earlier version, which "
                f"kept no digest of its predictions: run `mixnet validate --run {self.run.name}` "
                "again"
            )
        return validation
