"""The report of a validated run: plain data, and the same as Markdown.

Equal inputs give equal bytes: it holds no times of day and no paths.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from mixnet_core.recipe import Recipe
from mixnet_core.values import PreparedDataset, Score, Selection, TrainedRun

# Two-sided 95 % of the normal distribution.
_Z95 = 1.959963984540054


def versions() -> dict[str, str]:
    """What the figures depend on besides the inputs: package -> version."""
    return {"python": platform.python_version(), "mindspore": metadata.version("mindspore")}


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """95 % interval of a share in 0..1 that was counted on `count` images, at least one.

    Wilson's score interval (1927): unlike the normal one it stays inside 0..1 near the ends.
    """
    share, z2 = correct / count, _Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = share * (1 - share) / count + z2 / (4 * count**2)
    half = _Z95 / (1 + z2 / count) * math.sqrt(spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def report_data(
    *,
    run: str,
    release: str | None,
    recipe: Recipe,
    dataset: PreparedDataset,
    trained: TrainedRun,
    selection: Selection,
    score: Score,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The report as JSON values; shares are in 0..1.

    Args:
        run: the run's name.
        release: the name it is published under, if that is known.
        score: of `selection.chosen` on the val split.
        environment: `versions()` of where it was measured.
    """
    low, high = wilson_interval(score.correct1, score.count)
    return {
        "run": run,
        "release": release,
        "val": {**_score(score), "top1_low": low, "top1_high": high},
        "checkpoint": {
            "epoch": selection.chosen.epoch,
            "step": selection.chosen.step,
            "averaged": selection.chosen.averaged,
            "sha256": selection.chosen.weights_sha256,
        },
        "dataset": {
            "source": recipe.data.source,
            "classes": len(dataset.classes),
            "counts": dict(dataset.counts),
            "fingerprint": dataset.fingerprint,
        },
        "recipe": {
            "name": recipe.name,
            "fingerprint": recipe.fingerprint,
            "variant": recipe.network.variant,
            "flavour": recipe.network.flavour,
            "image_size": recipe.input.image_size,
        },
        "batch": {
            "global": recipe.training.global_batch,
            "lr": recipe.schedule.lr * recipe.lr_factor,
            "lr_batch": recipe.schedule.lr_batch,
            # As it was trained: a finished run's recipe may name other devices since.
            "sentence": trained.batch or recipe.batch_sentence,
        },
        "training": {
            "epochs": trained.epochs,
            "steps": trained.steps,
            "ranks": trained.ranks,
            "loss": trained.loss,
            "images_per_second": trained.images_per_second,
            "seconds": trained.seconds,
            "resumed_from_step": trained.resumed_from_step,
            "changes": list(trained.changes),
            "unreadable_images": trained.unreadable,
        },
        "selection": {
            "rule": selection.rule,
            "candidates": [
                {
                    "epoch": candidate.checkpoint.epoch,
                    "step": candidate.checkpoint.step,
                    "averaged": candidate.checkpoint.averaged,
                    "sha256": candidate.checkpoint.weights_sha256,
                    "chosen": candidate.checkpoint == selection.chosen,
                    **_score(candidate.score),
                }
                for candidate in selection.candidates
            ],
        },
        "environment": dict(environment),
    }


def report_markdown(data: Mapping[str, Any]) -> str:
    """`report_data`'s values for people: percentages with two decimals, digests cut short."""
    parts = [
        f"# {data['run']}",
        *([f"Release: `{data['release']}`"] if data["release"] else []),
        _val_table(data["val"]),
        "Measured once on the val split, which neither training nor selection saw.",
        "## What was trained",
        _facts_table(data),
        "## Batch",
        _sentence(data["batch"]["sentence"]),
        "## Candidates on the select split",
        f"Rule: {data['selection']['rule']}",
        _candidates_table(data["selection"]["candidates"]),
    ]
    return "\n\n".join(parts) + "\n"


def _val_table(val: Mapping[str, Any]) -> str:
    interval = f"{_percent(val['top1_low'])} – {_percent(val['top1_high'])}"
    return _table(
        ["top-1 %", "95 % interval", "top-5 %", "loss", "images"],
        [[_percent(val["top1"]), interval, _percent(val["top5"]), *_loss_and_count(val)]],
    )


def _facts_table(data: Mapping[str, Any]) -> str:
    recipe, dataset, training = data["recipe"], data["dataset"], data["training"]
    checkpoint = data["checkpoint"]
    facts = {
        "recipe": [recipe["name"], f"fingerprint `{recipe['fingerprint'][:12]}`"],
        "network": [
            f"MixNet-{recipe['variant'].upper()}",
            f"{recipe['flavour']} flavour",
            f"{recipe['image_size']} px",
        ],
        "dataset": [
            dataset["source"],
            f"{dataset['classes']} classes",
            *(f"{split} {dataset['counts'][split]:,}" for split in ("train", "select", "val")),
            f"fingerprint `{dataset['fingerprint'][:12]}`",
        ],
        "training": [
            f"{training['epochs']} epochs",
            f"{training['steps']} steps",
            f"{training['ranks']} rank{'s' if training['ranks'] > 1 else ''}",
            f"final loss {training['loss']:.4f}",
            f"{training['images_per_second']:.1f} img/s",
            f"{training['seconds']:.0f} s",
            *([f"resumed after step {start}"] if (start := training["resumed_from_step"]) else []),
            *training["changes"],
            *(
                [f"{unreadable} unreadable images replaced"]
                if (unreadable := training["unreadable_images"])
                else []
            ),
        ],
        "checkpoint": [
            f"epoch {checkpoint['epoch']}",
            f"step {checkpoint['step']}",
            *(["moving averages"] if checkpoint["averaged"] else []),
            f"sha256 `{checkpoint['sha256']}`",
        ],
        "environment": [f"{name} {version}" for name, version in data["environment"].items()],
    }
    return _table(["", ""], [[name, ", ".join(fact)] for name, fact in facts.items()])


def _candidates_table(candidates: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ["epoch", "step", "weights", "top-1 %", "top-5 %", "loss", "images", "chosen"],
        [
            [
                str(candidate["epoch"]),
                str(candidate["step"]),
                "average" if candidate["averaged"] else "last",
                _percent(candidate["top1"]),
                _percent(candidate["top5"]),
                *_loss_and_count(candidate),
                "✓" if candidate["chosen"] else "",
            ]
            for candidate in candidates
        ],
    )


def _loss_and_count(score: Mapping[str, Any]) -> list[str]:
    return [f"{score['loss']:.4f}", str(score["count"])]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _score(score: Score) -> dict[str, Any]:
    return {**score.model_dump(), "top1": score.top1, "top5": score.top5}


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Names come from the user: a bar or line break in one must not end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
