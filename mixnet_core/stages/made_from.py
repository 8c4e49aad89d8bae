"""What each stage's result is made from, by name: a record says it, and is taken for nothing else.

    prepare     the recipe's data section
    fetch       the name of the initial weights
    train       dataset, weights, and what the recipe computes
    select      dataset, checkpoints, how images are read, the policy
    validate    dataset, checkpoint, how images are read
    accept      dataset, checkpoint, predictions, demands, override
    export      dataset, checkpoint, predictions, how images are read, formats, name

The names are what a refusal says to people, and digests of these inputs are the keys of records:
another name here makes every finished stage be done again.
"""

from __future__ import annotations

from typing import Any

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import (
    Checkpoint,
    FetchedWeights,
    PreparedDataset,
    TrainedRun,
    Validation,
)

Inputs = dict[str, Any]


def prepare_inputs(recipe: Recipe) -> Inputs:
    """Returns what a prepared dataset is made from, but for the images themselves."""
    return {"data": recipe.data.model_dump(mode="json")}


def fetch_inputs(recipe: Recipe) -> Inputs:
    """Returns what fetched weights are made from."""
    return {"name": recipe.weights.name}


def train_inputs(
    recipe: Recipe, dataset: PreparedDataset, weights: FetchedWeights | None
) -> Inputs:
    """Returns what checkpoints are made from."""
    return {
        "recipe": recipe.fingerprint,
        "dataset": dataset.fingerprint,
        "weights": weights.sha256 if weights else None,
    }


def select_inputs(recipe: Recipe, dataset: PreparedDataset, trained: TrainedRun) -> Inputs:
    """Returns what a selection is made from."""
    inputs = {
        "input": _input(recipe),
        "dataset": dataset.fingerprint,
        "checkpoints": [checkpoint.model_dump() for checkpoint in trained.checkpoints],
        "selection": recipe.selection.model_dump(exclude={"score_in_training"}),
    }
    if recipe.weights.freeze == "backbone":
        # Earlier versions estimated frozen statistics anew for a mean, which is to be made again.
        inputs["statistics"] = "kept"
    return inputs


def validate_inputs(recipe: Recipe, dataset: PreparedDataset, chosen: Checkpoint) -> Inputs:
    """Returns what a validation is made from."""
    return {
        "input": _input(recipe),
        "dataset": dataset.fingerprint,
        "checkpoint": chosen.model_dump(),
    }


def accept_inputs(
    recipe: Recipe,
    dataset: PreparedDataset,
    validation: Validation,
    *,
    registry: str,
    override: str | None,
    replaced: str | None = None,
) -> Inputs:
    """Returns what a decision is made from.

    Args:
        registry: URI where the release that is replaced is looked up.
        override: why it is published whatever is demanded.
        replaced: the release that is compared with; another than the recipe's where that is an
            alias, which stands for another one later. None: the recipe's.
    """
    wanted = recipe.acceptance
    return {
        "acceptance": wanted.model_dump(),
        "anyway": override,
        "dataset": dataset.fingerprint,
        "checkpoint": validation.checkpoint.model_dump(),
        "predictions": validation.answers_sha256,
        "releases": registry if wanted.replaces else None,
        **({"replaced": replaced} if replaced not in (None, wanted.replaces) else {}),
    }


def export_inputs(
    recipe: Recipe, dataset: PreparedDataset, validation: Validation, *, name: str
) -> Inputs:
    """Returns what exports are made from.

    Args:
        name: of the release, which the files say.
    """
    return {
        "export": recipe.export.model_dump(mode="json"),
        "input": _input(recipe),
        "dataset": dataset.fingerprint,
        "checkpoint": validation.checkpoint.model_dump(),
        "predictions": validation.answers_sha256,
        "name": name,
    }


def _input(recipe: Recipe) -> Inputs:
    """Returns how evaluation reads images."""
    return recipe.input.model_dump(mode="json") | (
        # The side that rules 1 round to is what the other keys say; records of then have no more.
        {"short_side": recipe.short_side} if recipe.follows(2) else {}
    )
