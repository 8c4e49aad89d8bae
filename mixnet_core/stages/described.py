"""What a release says of itself, made of a run's evidence: its card, its network, where it is from.

    described/
        README.md          card              as the MindSpore model hub has it
        README.hf.md       card_hf           the same with the Hugging Face hub's front matter
        config.json        config            the network, as timm and that hub read it
        provenance.json    provenance        in-toto statement of the training
        acceptance.json    acceptance        in-toto statement of what was demanded

Equal evidence makes equal bytes: the only times are those in the report. A run that an earlier
version validated has none of these, and is published as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.checkpoints.fit import seen_network
from mixnet_core.exports.card_part import card_part
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.release.card_hub import hub_card_text, hub_config_text
from mixnet_core.release.card_text import card_text
from mixnet_core.release.manifest import released_name
from mixnet_core.release.own_card import own_card
from mixnet_core.release.provenance import (
    acceptance_statement,
    file_descriptor,
    statement_text,
    training_statement,
)
from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import Decision, FetchedWeights, PreparedDataset
from mixnet_core.storage.files import sha256_of, write_text


def describe_release(
    name: str,
    run: RunDir,
    files: Mapping[str, Path],
    *,
    report: Mapping[str, Any],
    recipe: Recipe,
    dataset: PreparedDataset,
    decision: Decision,
    start: FetchedWeights | None,
    exported: Exported | None = None,
) -> dict[str, Path]:
    """Writes the files beside the run's own.

    Args:
        name: of the release.
        files: role -> file, what is published besides.
        report: of this decision.
        start: the initial weights.
        exported: files for other runtimes, published besides.

    Returns:
        Role -> file; {} where an earlier version wrote the report.

    Raises:
        MixnetError: as `checkpoints.file_format.read_format`.
        MachineError: they cannot be written.
    """
    if "machine" not in report["training"]:
        return {}
    described = {role: _descriptor(role, path) for role, path in files.items()}
    weights, recipe_file = described["weights"], described["recipe"]
    card = own_card(
        name,
        report=report,
        recipe=recipe,
        classes=dataset.classes,
        parameters=_parameters(files["weights"]),
        weights=weights["name"],
        recipe_file=recipe_file["name"],
        exports=card_part(
            exported.proofs if exported else (),
            {role: item["name"] for role, item in described.items()},
        ),
    )
    evidence: Sequence[Mapping[str, Any]] = [
        item for role, item in described.items() if role not in ("weights", "recipe")
    ]
    trained = training_statement(
        weights=weights,
        recipe_file=recipe_file,
        evidence=evidence,
        recipe=recipe,
        dataset=dataset,
        start=start,
        training=report["training"],
        run=run.name,
    )
    accepted = acceptance_statement(
        weights=weights,
        configuration=[recipe_file, described["answers"]],
        decision=decision,
    )
    on = report["measured_on"]
    texts = {
        "card": ("README.md", card_text(card)),
        "card_hf": ("README.hf.md", hub_card_text(card, recipe, on["count"], on["split"])),
        "config": ("config.json", hub_config_text(card, recipe, dataset.classes)),
        "provenance": ("provenance.json", statement_text(trained)),
        "acceptance": ("acceptance.json", statement_text(accepted)),
    }
    for file, text in texts.values():
        write_text(run.described / file, text)
    return {role: run.described / file for role, (file, _) in texts.items()}


def _descriptor(role: str, path: Path) -> dict[str, Any]:
    sha256 = sha256_of(path)
    return file_descriptor(released_name(role, sha256, path.suffix), sha256)


def _parameters(weights: Path) -> int:
    """Counts the values of the network in a file, BatchNorm's statistics included."""
    file = read_format(weights)
    names = seen_network(file).parts.weights
    return sum(math.prod(file.shapes[name]) for name in names)
