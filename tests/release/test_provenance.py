"""Statements are judged by in-toto's own package, which knows their fields and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2 as result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.release.provenance import (
    SLSA,
    TEST_RESULT,
    acceptance_statement,
    file_descriptor,
    statement_text,
    training_statement,
    verdict_statement,
)
from mixnet_core.runs.values import Check, Decision, FetchedWeights, PreparedDataset

WEIGHTS = file_descriptor("weights-0.ckpt", "0" * 64)
RECIPE = file_descriptor("recipe-1.yaml", "1" * 64)
ANSWERS = file_descriptor("answers-2.csv", "2" * 64)
PARENT = FetchedWeights(name="parent", path="/cache/parent.ckpt", sha256="3" * 64)
TRAINING: dict[str, Any] = {
    "machine": {
        "device": "Ascend",
        "processor": "Kunpeng",
        "cores": 192,
        "ascend_driver": "24.1.0",
        "ascend_firmware": "",
        "cann": "8.0.0",
        "packages": {"mindspore-mixnet": "0.1.0", "mindspore": "2.10.0", "python": "3.11.7"},
    },
    "started": "2026-11-29T20:00:00Z",
    "finished": "2026-11-29T21:00:00Z",
    "epochs": 2,
    "steps": 24,
    "ranks": 8,
}
DATASET = PreparedDataset(
    root="/data",
    fingerprint="d" * 64,
    classes=("a", "b"),
    counts={"train": 8, "select": 1, "val": 1},
    val_fingerprint="e" * 64,
)


def judged(data: dict[str, Any]) -> dict[str, Any]:
    """Passes a statement through in-toto's validation, and returns its predicate."""
    read: dict[str, Any] = json.loads(statement_text(data))
    # A field that the schema does not know is an error to this parser.
    Statement.copy_from_pb(ParseDict(read, statement_pb2.Statement())).validate()
    predicate: dict[str, Any] = read["predicate"]
    if read["predicateType"] == SLSA:
        ParseDict(predicate, Provenance())
        assert predicate["buildDefinition"]["buildType"].startswith("pkg:pypi/mindspore-mixnet#")
        assert predicate["runDetails"]["builder"]["id"]
    else:
        assert read["predicateType"] == TEST_RESULT
        ParseDict(predicate, result_pb2.TestResult())
        assert predicate["result"] in ("PASSED", "WARNED", "FAILED")
        assert predicate["configuration"]
    for item in descriptors(predicate):
        # One of these is required of a ResourceDescriptor.
        assert {"uri", "digest", "content"} & item.keys(), item
    return predicate


def descriptors(predicate: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [
        predicate.get("configuration", []),
        predicate.get("buildDefinition", {}).get("resolvedDependencies", []),
        predicate.get("runDetails", {}).get("byproducts", []),
    ]
    return [item for items in lists for item in items]


def trained(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "weights": WEIGHTS,
        "recipe_file": RECIPE,
        "evidence": [ANSWERS],
        "recipe": load_recipe("digits", {"training.seed": 7}),
        "dataset": DATASET,
        "start": PARENT,
        "training": TRAINING,
        "run": "mine",
    }
    return training_statement(**{**given, **changes})


def test_a_training_says_recipe_images_seeds_parent_packages_and_hardware() -> None:
    statement = trained()
    predicate = judged(statement)
    assert statement["subject"] == [WEIGHTS]
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    recipe = load_recipe("digits", {"training.seed": 7})
    assert definition["externalParameters"] == {
        "recipe": {"name": "digits", "fingerprint": recipe.fingerprint},
        "seeds": {"training": 7, "split": 0},
        "initialWeights": "parent",
    }
    needed = {item["name"]: item for item in definition["resolvedDependencies"]}
    assert needed["recipe-1.yaml"]["digest"] == {"sha256": "1" * 64}
    assert needed["parent"]["digest"] == {"sha256": "3" * 64}
    assert needed["dataset"]["digest"] == {"mixnetDatasetV1": "d" * 64}
    assert needed["mindspore"]["uri"] == "pkg:pypi/mindspore@2.10.0"
    assert definition["internalParameters"]["hardware"] == {
        "device": "Ascend",
        "processor": "Kunpeng",
        "cores": 192,
        "ascend_driver": "24.1.0",
        "cann": "8.0.0",
    }
    assert details["builder"]["id"] == "pkg:pypi/mindspore-mixnet@0.1.0"
    assert details["metadata"] == {
        "invocationId": "mine",
        "startedOn": "2026-11-29T20:00:00Z",
        "finishedOn": "2026-11-29T21:00:00Z",
    }
    assert details["byproducts"] == [ANSWERS]


def test_a_training_that_went_back_says_how_often_and_which_steps_it_left_out() -> None:
    more = {"rewinds": 2, "steps_left_out": [28, 29]}
    definition = judged(trained(training=TRAINING | more))["buildDefinition"]
    assert definition["internalParameters"]["rewinds"] == 2
    assert definition["internalParameters"]["stepsLeftOut"] == [28, 29]
    plain = judged(trained(training=TRAINING | {"rewinds": 0, "steps_left_out": []}))
    assert plain == judged(trained())


def test_what_is_not_known_of_a_training_is_left_out() -> None:
    unknown = {**TRAINING, "machine": None, "started": None, "finished": None}
    predicate = judged(trained(training=unknown, start=None))
    assert predicate["runDetails"]["metadata"] == {"invocationId": "mine"}
    assert predicate["buildDefinition"]["internalParameters"]["hardware"] == {}
    names = [item["name"] for item in predicate["buildDefinition"]["resolvedDependencies"]]
    assert names == ["recipe-1.yaml", "dataset"]


def test_equal_trainings_are_equal_bytes() -> None:
    assert statement_text(trained()) == statement_text(trained())


@pytest.mark.parametrize(
    ("checks", "override", "expected"),
    [
        ((), None, ("PASSED", [], [], [])),
        (((True, "top-1 fine"),), None, ("PASSED", ["top-1 fine"], [], [])),
        (
            ((True, "top-1 fine"), (False, "top-5 low")),
            None,
            ("FAILED", ["top-1 fine"], [], ["top-5 low"]),
        ),
        (((False, "top-5 low"),), "a demo", ("WARNED", [], ["top-5 low"], [])),
    ],
)
def test_what_was_demanded_is_a_test_result(
    checks: tuple[tuple[bool, str], ...],
    override: str | None,
    expected: tuple[str, list[str], list[str], list[str]],
) -> None:
    decision = Decision(
        checks=tuple(Check(ok=ok, line=line) for ok, line in checks), override=override
    )
    predicate = judged(
        acceptance_statement(weights=WEIGHTS, configuration=[RECIPE, ANSWERS], decision=decision)
    )
    keys = ("result", "passedTests", "warnedTests", "failedTests")
    assert tuple(predicate[key] for key in keys) == expected
    annotations = predicate["configuration"][0].get("annotations")
    assert annotations == (None if override is None else {"override": override})


@pytest.mark.parametrize(("state", "result"), [("confirmed", "PASSED"), ("regressed", "FAILED")])
def test_a_verdict_is_a_test_result_of_the_weights(state: str, result: str) -> None:
    statement = verdict_statement(
        name="mine",
        uri="s3://bucket/releases/mine",
        sha256="0" * 64,
        state=state,
        time="2026-11-29T20:00:00Z",
        lines=[("top-1 75 % claimed, 75 % measured", True), ("top-5 99 % claimed", False)],
        images="e" * 64,
        engine="openvino",
        note="",
    )
    predicate = judged(statement)
    assert statement["subject"][0]["digest"] == {"sha256": "0" * 64}
    assert predicate["result"] == result
    assert predicate["failedTests"] == ["top-5 99 % claimed"]
    assert predicate["configuration"][0]["annotations"]["state"] == state
    assert predicate["configuration"][1]["digest"] == {"mixnetDatasetV1": "e" * 64}
