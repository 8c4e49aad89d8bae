"""Prefect deploys misspelt keys and parameters of a prefect.yaml without a word; this does not."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.cli.deploy import _models as known
from prefect.exceptions import ParameterTypeError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.process import ProcessWorker

from mixnet_core.recipe.recipe import load_recipe
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.context import Context
from mixnet_core.stages.options import adjusted_recipe
from mixnet_flows.infra.setup import QUEUES
from mixnet_flows.node_runs import node_parameters

FILE = Path(__file__).parents[2] / "prefect.yaml"
TRAIN = {"name": "mixnet", "work_queue_name": "train"}


def faults(document: dict[str, Any]) -> list[str]:
    """What is wrong with a prefect.yaml, as far as this project cares."""
    found = unknown(document, {*known.PrefectYamlModel.model_fields, "definitions"}, "file")
    if not document.get("pull"):
        found.append("without a pull step the folder of `prefect deploy` is baked in")
    for step in document.get("pull") or []:
        found += [f"no pull step {name}" for name in step if not importable(name)]
    for deployment in document["deployments"]:
        found += deployment_faults(deployment)
    return found


def deployment_faults(deployment: dict[str, Any]) -> list[str]:
    where = deployment["name"]
    # Prefect still takes `schedule`, with a warning, and forgets the schedules that it replaced.
    found = unknown(deployment, {*known.DeploymentConfig.model_fields} - {"schedule"}, where)
    pool = deployment["work_pool"]
    found += unknown(pool, {*known.WorkPoolConfig.model_fields}, f"{where}.work_pool")
    variables = ProcessWorker.get_default_base_job_template()["variables"]["properties"]
    found += unknown(pool["job_variables"], {*variables}, f"{where}.job_variables")
    if pool["work_queue_name"] != where or where not in QUEUES:
        found.append(f"{where} has no queue of its own, which takes one run at a time")
    if "concurrency_limit" in deployment:
        found.append(f"{where}: Prefect ends a run that loses the lease of its concurrency_limit")
    for schedule in deployment.get("schedules", []):
        names = {*known.RawScheduleConfig.model_fields}
        found += unknown(schedule, names, f"{where}.schedules")
    if not importable(deployment["entrypoint"]):
        return [*found, f"{where}: no flow at {deployment['entrypoint']}"]
    flow = flow_of(deployment)
    given = dict(deployment["parameters"])
    for trigger in deployment.get("triggers", []):
        # What the automation fills in when something happens.
        given |= trigger["parameters"]
    if deployment["entrypoint"] == "mixnet_flows.node.node":
        # What the flow that leads fills in.
        workspace = Workspace(Path("/shared"))
        context = Context(load_recipe("digits"), workspace.run("mine"), workspace, "/releases")
        given |= node_parameters(context, uuid4(), "second", 1)
    found += unknown(given, {*flow.parameters.properties}, f"{where}.parameters")
    try:
        flow.validate_parameters(
            {key: given[key] for key in flow.parameters.properties.keys() & given}
        )
    except ParameterTypeError as error:
        found.append(f"{where}.parameters: {error}")
    return found


def unknown(mapping: dict[str, Any], names: set[str], where: str) -> list[str]:
    return [f"{where} has an unknown key {key}" for key in mapping if key not in names]


def importable(dotted: str) -> bool:
    module, _, name = dotted.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return False


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)


@pytest.fixture
def document() -> dict[str, Any]:
    # A copy: anchors make deployments share their mappings.
    loaded: dict[str, Any] = copy.deepcopy(yaml.safe_load(FILE.read_text()))
    return loaded


def test_the_file_has_no_fault(document: dict[str, Any]) -> None:
    assert faults(document) == []


def test_the_deployments_have_the_names_that_people_are_told(document: dict[str, Any]) -> None:
    names = [f"{flow_of(item).name}/{item['name']}" for item in document["deployments"]]
    assert names == [
        "mixnet/train",
        "mixnet/finetune",
        "mixnet-imagenet/unpack",
        "mixnet-revalidate/releases",
        "mixnet-node/node",
        "mixnet-alarm/alarm",
    ]


def test_every_parameter_is_described_in_the_form(document: dict[str, Any]) -> None:
    for deployment in document["deployments"]:
        for name, schema in flow_of(deployment).parameters.properties.items():
            assert schema.get("description"), name


def test_default_parameters_make_a_recipe(document: dict[str, Any]) -> None:
    train, finetune = document["deployments"][:2]
    assert adjusted_recipe(**train["parameters"]).name == "digits"
    assert adjusted_recipe(**finetune["parameters"], data="/flowers").weights.name


@pytest.mark.parametrize(
    ("deployment", "change", "fault"),
    [
        (0, {"paramters": {}}, "unknown key paramters"),
        (2, {"schedule": {"cron": "0 3 * * 1"}}, "unknown key schedule"),
        (2, {"schedules": [{"crone": "0 3 * * 1"}]}, "unknown key crone"),
        (0, {"parameters": {"epoch": 3}}, "unknown key epoch"),
        (0, {"parameters": {"epochs": 0}}, "epochs"),
        (1, {"parameters": {"settings": [1]}}, "settings"),
        (0, {"entrypoint": "mixnet_flows.mixnet.train"}, "no flow at mixnet_flows.mixnet.train"),
        (0, {"work_pool": {**TRAIN, "job_variables": {"cwd": "."}}}, "unknown key cwd"),
        (1, {"work_pool": {**TRAIN, "job_variables": {}}}, "no queue of its own"),
        (0, {"concurrency_limit": {"limit": 1}}, "loses the lease"),
    ],
)
def test_a_fault_is_found(
    document: dict[str, Any], deployment: int, change: dict[str, Any], fault: str
) -> None:
    document["deployments"][deployment] |= change
    (found,) = faults(document)
    assert fault in found


def test_a_missing_pull_step_and_an_unknown_one_are_found(document: dict[str, Any]) -> None:
    document["pull"] = [{"prefect.deployments.steps.set_folder": {}}]
    assert faults(document) == ["no pull step prefect.deployments.steps.set_folder"]
    del document["pull"]
    assert "pull step" in faults(document)[0]
