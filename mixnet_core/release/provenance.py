"""Where a release comes from and what was found of it, as statements that other tools read.

in-toto's Statement v1 says of which bytes (subject) which claim (predicate) is made:

    training       https://slsa.dev/provenance/v1
    acceptance     https://in-toto.io/attestation/test-result/v0.1
    re-validation  https://in-toto.io/attestation/test-result/v0.1

Fields: in-toto/attestation, `spec/v1/statement.md` and `spec/predicates/test-result.md`;
slsa-framework/slsa, `spec/schema/provenance.cue`. They are not signed by themselves: the release's
signature covers the files that they stand in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Literal

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.machine import DISTRIBUTION
from mixnet_core.runs.values import Decision, FetchedWeights, PreparedDataset

STATEMENT = "https://in-toto.io/Statement/v1"
SLSA = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
BUILD_TYPE = f"pkg:pypi/{DISTRIBUTION}#train"
"""A package URL: what `mixnet train` does with a recipe, a dataset and initial weights."""
DATASET_DIGEST = "mixnetDatasetV1"
"""Algorithm of `PreparedDataset.fingerprint`: a sha256 over digests, of no single file."""

Result = Literal["PASSED", "WARNED", "FAILED"]
Statement = dict[str, Any]


def file_descriptor(name: str, sha256: str, **more: Any) -> dict[str, Any]:
    """Describes a file as in-toto's ResourceDescriptor."""
    return {"name": name, "digest": {"sha256": sha256}, **more}


def statement(
    subject: Sequence[Mapping[str, Any]], predicate_type: str, predicate: Mapping[str, Any]
) -> Statement:
    """Makes a Statement v1.

    Args:
        subject: descriptors, each with a digest.
    """
    return {
        "_type": STATEMENT,
        "subject": [dict(item) for item in subject],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def statement_text(data: Statement) -> str:
    """Writes a statement; equal ones are equal bytes."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def training_statement(
    *,
    weights: Mapping[str, Any],
    recipe_file: Mapping[str, Any],
    evidence: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    dataset: PreparedDataset,
    start: FetchedWeights | None,
    training: Mapping[str, Any],
    run: str,
) -> Statement:
    """States how weights were trained.

    Args:
        weights, recipe_file: descriptors of these files.
        evidence: descriptors of other files that the run left.
        start: the initial weights.
        training: the section of the report, with the machine that it ran on.
        run: its name.
    """
    machine = training["machine"] or {}
    packages = machine.get("packages", {})
    images = {
        "name": "dataset",
        "digest": {DATASET_DIGEST: dataset.fingerprint},
        "annotations": {"source": recipe.data.source, "images": dict(dataset.counts)},
    }
    parent = [file_descriptor(start.name, start.sha256)] if start else []
    hardware = {key: value for key, value in machine.items() if value and key != "packages"}
    times = {"startedOn": training["started"], "finishedOn": training["finished"]}
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "recipe": {"name": recipe.name, "fingerprint": recipe.fingerprint},
            "seeds": {"training": recipe.training.seed, "split": recipe.data.split_seed},
            "initialWeights": start.name if start else None,
        },
        "internalParameters": {
            "rules": recipe.rules,
            "epochs": training["epochs"],
            "steps": training["steps"],
            "ranks": training["ranks"],
            "hardware": hardware,
            **_gone_back(training),
        },
        "resolvedDependencies": [
            dict(recipe_file),
            images,
            *parent,
            *(
                {"name": name, "uri": f"pkg:pypi/{name}@{version}"}
                for name, version in sorted(packages.items())
                if name not in ("python", DISTRIBUTION)
            ),
        ],
    }
    details = {
        "builder": {
            "id": f"pkg:pypi/{DISTRIBUTION}@{packages.get(DISTRIBUTION, 'unknown')}",
            "version": {
                name: packages[name] for name in (DISTRIBUTION, "python") if name in packages
            },
        },
        "metadata": {
            "invocationId": run,
            **{key: time for key, time in times.items() if time},
        },
        "byproducts": [dict(item) for item in evidence],
    }
    return statement([weights], SLSA, {"buildDefinition": definition, "runDetails": details})


def acceptance_statement(
    *,
    weights: Mapping[str, Any],
    configuration: Sequence[Mapping[str, Any]],
    decision: Decision,
) -> Statement:
    """States what was demanded of weights, and whether they are so.

    What does not hold and was published all the same is a warning.

    Args:
        configuration: descriptors of the recipe, which has the demands, and of the predictions; the
            first one gets the reason for publishing whatever was demanded.
    """
    held = [check.line for check in decision.checks if check.ok]
    others = [check.line for check in decision.checks if not check.ok]
    overridden = decision.override is not None
    result: Result = "PASSED" if not others else "WARNED" if overridden else "FAILED"
    noted = [dict(item) for item in configuration]
    if overridden:
        noted[0]["annotations"] = {"override": decision.override}
    return _tested(weights, noted, result, held, others)


def verdict_statement(
    *,
    name: str,
    uri: str,
    sha256: str,
    state: str,
    time: str,
    lines: Sequence[tuple[str, bool]],
    images: str,
    engine: str,
    note: str,
) -> Statement:
    """States what a re-validation found of a release's weights.

    Args:
        name, uri: of the release.
        sha256: hex, of its weights.
        state: as `revalidation.states.State`; "confirmed" is the one that passes.
        time: UTC, ISO 8601 to the second.
        lines: each claim in a line, and whether it was supported.
        images: fingerprint of the val images.
        engine: that computed the logits.
        note: the reason for the state, in one line.
    """
    measured = {"measured": time, "state": state, "engine": engine, "note": note}
    configuration: list[dict[str, Any]] = [
        {
            "name": "revalidation",
            "uri": f"pkg:pypi/{DISTRIBUTION}@{metadata.version(DISTRIBUTION)}#revalidate",
            "annotations": {key: text for key, text in measured.items() if text},
        }
    ]
    if images:
        configuration.append({"name": "val images", "digest": {DATASET_DIGEST: images}})
    return _tested(
        file_descriptor(name, sha256, uri=uri),
        configuration,
        "PASSED" if state == "confirmed" else "FAILED",
        [line for line, holds in lines if holds],
        [line for line, holds in lines if not holds],
    )


def _gone_back(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how training went back after it diverged, and what it left out; {} if it did not."""
    if not training.get("rewinds"):
        return {}
    return {"rewinds": training["rewinds"], "stepsLeftOut": list(training["steps_left_out"])}


def _tested(
    subject: Mapping[str, Any],
    configuration: Sequence[Mapping[str, Any]],
    result: Result,
    passed: Sequence[str],
    others: Sequence[str],
) -> Statement:
    """Makes a test result; what did not pass has failed, or is a warning where the result is."""
    warned = result == "WARNED"
    return statement(
        [subject],
        TEST_RESULT,
        {
            "result": result,
            "configuration": [dict(item) for item in configuration],
            "passedTests": list(passed),
            "warnedTests": list(others) if warned else [],
            "failedTests": [] if warned else list(others),
        },
    )
