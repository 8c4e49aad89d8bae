"""Kubernetes' files: schemas, and that grace, exit codes and addresses are those of the program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.server.schemas.actions import validate_base_job_template
from prefect.utilities.templating import apply_values

from mixnet_core.errors import EXIT_CODES
from mixnet_core.recipe.recipe import load_recipe
from tests.infra.jobset_fields import JOBSET
from tests.infra.tools import INFRA, ROOT, interpreter, needs, program, said

FILES = INFRA / "kubernetes"
TEMPLATE = json.loads((FILES / "base-job-template.json").read_text())
SET = yaml.safe_load((FILES / "jobset.yaml").read_text())
JOBS = {job["name"]: job for job in SET["spec"]["replicatedJobs"]}
WORKER = {one["kind"]: one for one in yaml.safe_load_all((FILES / "worker.yaml").read_text())}
# What a Job says of a pod that a rule of its podFailurePolicy ended it for.
MESSAGE = (
    "Container mixnet for pod mixnet/a-0 failed with exit code {} matching FailJob rule at index 0"
)


def rendered(**values: Any) -> dict[str, Any]:
    """The Job that a worker makes of the template, without what it adds itself."""
    variables = TEMPLATE["variables"]["properties"]
    defaults = {name: one["default"] for name, one in variables.items() if "default" in one}
    made = apply_values(TEMPLATE["job_configuration"], defaults | values)
    job: dict[str, Any] = made["job_manifest"]
    return job


def grace_needed() -> float:
    """What training may take to save, and what then is ended takes to be gone."""
    return load_recipe("mixnet_s").devices.grace_seconds + 10


@needs("kubernetes-validate")
def test_the_workers_resources_are_those_of_kubernetes_schemas() -> None:
    code, out = said("kubernetes-validate", "--strict", FILES / "worker.yaml")
    assert (code, out.count("passed")) == (0, len(WORKER)), out


@needs("kubernetes-validate")
@pytest.mark.parametrize("name", JOBS)
def test_each_job_of_the_jobset_is_one_of_kubernetes_schemas(name: str, tmp_path: Path) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": JOBS[name]["template"]["spec"],
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    code, out = said("kubernetes-validate", "--strict", file)
    assert code == 0, out


def test_the_jobset_uses_fields_that_jobset_has() -> None:
    jsonschema.validate(SET, JOBSET)
    misplaced = json.loads(json.dumps(SET))
    # Beside the Job's spec, as one of JobSet's own examples has it.
    misplaced["spec"]["replicatedJobs"][1]["podFailurePolicy"] = {}
    with pytest.raises(jsonschema.ValidationError, match="podFailurePolicy"):
        jsonschema.validate(misplaced, JOBSET)


@pytest.mark.skipif(
    "MIXNET_JOBSET_CRD" not in os.environ,
    reason="needs MIXNET_JOBSET_CRD, JobSet's custom resource definition: no package has it",
)
def test_the_jobset_is_one_of_its_own_definition() -> None:
    crd = yaml.safe_load(Path(os.environ["MIXNET_JOBSET_CRD"]).read_text())
    (version,) = [one for one in crd["spec"]["versions"] if one["name"] == "v1alpha2"]
    schema = version["schema"]["openAPIV3Schema"]

    def made_strict(node: Any) -> None:
        # The API server refuses unknown fields where kubectl asks it to; JSON schema ignores them.
        for value in node.values() if isinstance(node, dict) else node:
            if isinstance(value, (dict, list)):
                made_strict(value)
        if isinstance(node, dict) and isinstance(node.get("properties"), dict):
            node.setdefault("additionalProperties", False)

    made_strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(SET, schema)


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_the_jobset_goes_on_after_a_save_and_gives_up_what_a_person_must_mend(code: int) -> None:
    spec = JOBS["hosts"]["template"]["spec"]
    (exits,) = [
        rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    if code == 0:
        assert code not in exits["values"]
        return
    reason = "PodFailurePolicy" if code in exits["values"] else "BackoffLimitExceeded"
    fitting = [
        rule["action"]
        for rule in SET["spec"]["failurePolicy"]["rules"]
        if reason in rule["onJobFailureReasons"]
        and any(
            re.search(pattern, MESSAGE.format(code))
            for pattern in rule.get("onJobFailureMessagePatterns", [""])
        )
    ]
    action = fitting[0] if fitting else "RestartJobSet"
    # 6: a rank died; 7: a service was away; 130, 143: ended before there was anything to save.
    expected = {75: "RestartJobSetAndIgnoreMaxRestarts"} | dict.fromkeys(
        (6, 7, 130, 143), "RestartJobSet"
    )
    assert action == expected.get(code, "FailJobSet")


def test_a_pod_that_is_drained_costs_no_restart() -> None:
    rules = JOBS["hosts"]["template"]["spec"]["podFailurePolicy"]["rules"]
    assert {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]} in rules
    # Its message has no exit code: the second rule of the JobSet takes it.
    told = "Pod mixnet/a-0 has condition DisruptionTarget matching FailJob rule at index 1"
    (pattern,) = SET["spec"]["failurePolicy"]["rules"][0]["onJobFailureMessagePatterns"]
    assert not re.search(pattern, told)


def test_every_host_is_one_pod_that_knows_its_number_and_the_first_ones_address() -> None:
    spec = JOBS["hosts"]["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    words = container["args"]
    told = dict(zip(words[2::2], words[3::2], strict=False))
    assert spec["completionMode"] == "Indexed"
    assert int(told["--hosts"]) == spec["completions"] == spec["parallelism"]
    assert told["--node-rank"] == "$(JOB_COMPLETION_INDEX)"
    name, subdomain = SET["metadata"]["name"], SET["spec"]["network"]["subdomain"]
    port = container["ports"][0]["containerPort"]
    # NAME-REPLICATED JOB-JOB-POD.SUBDOMAIN, which JobSet gives pods in its headless service.
    assert told["--master"] == f"{name}-hosts-0-0.{subdomain}:{port}"
    assert SET["spec"]["coordinator"] == {"replicatedJob": "hosts", "jobIndex": 0, "podIndex": 0}
    cards = int(container["resources"]["limits"]["huawei.com/Ascend910"])
    assert cards == load_recipe("mixnet_s").devices.ranks
    runs = [
        job["template"]["spec"]["template"]["spec"]["containers"][0]["args"]
        for job in JOBS.values()
    ]
    assert {args[args.index("--run") + 1] for args in runs} == {"mixnet-s"}


def test_pods_have_the_time_that_training_takes_to_save() -> None:
    pod = JOBS["hosts"]["template"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= grace_needed() + 15
    default = TEMPLATE["variables"]["properties"]["grace_seconds"]["default"]
    assert default >= grace_needed() + 15


def test_prefect_takes_the_template_and_every_variable_is_used() -> None:
    validate_base_job_template(TEMPLATE)
    WorkPoolCreate(name="mixnet", type="kubernetes", base_job_template=TEMPLATE)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == TEMPLATE["variables"]["properties"].keys()


def test_the_template_makes_a_job_with_what_a_run_asks_for(tmp_path: Path) -> None:
    job = rendered(name="run", command="prefect flow-run execute", cards=4, env={"A": "1"})
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["huawei.com/Ascend910"] == 4
    assert pod["terminationGracePeriodSeconds"] == 60
    assert container["lifecycle"]["preStop"]["exec"]["command"][:3] == ["mixnet", "drain", "--all"]
    workspace = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert workspace == WORKER["ConfigMap"]["data"]["MIXNET_HOME"]
    if program("kubernetes-validate") is None:
        return
    # What the worker and the API server make of them before the Job is one.
    job["metadata"]["name"] = "run-x"
    container["args"] = container["args"].split()
    container["env"] = [{"name": name, "value": value} for name, value in container["env"].items()]
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    code, out = said("kubernetes-validate", "--strict", file)
    assert code == 0, out


@pytest.mark.skipif(
    interpreter("prefect_kubernetes") is None, reason="needs prefect-kubernetes: make infra"
)
def test_prefects_own_kubernetes_worker_makes_a_job_of_the_template(tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text(
        "import json, sys\n"
        "from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration as Job\n"
        "from prefect.utilities.templating import apply_values\n"
        "template = json.load(open(sys.argv[1]))\n"
        "variables = template['variables']['properties']\n"
        "values = {name: one['default'] for name, one in variables.items() if 'default' in one}\n"
        "values |= {'name': 'run', 'env': {'A': '1'}}\n"
        "made = Job(**apply_values(template['job_configuration'], values))\n"
        "made._populate_image_if_not_present()\n"
        "made._populate_command_if_not_present()\n"
        "made._populate_env_in_manifest()\n"
        "made._propagate_labels_to_pod()\n"
        "print(json.dumps(made.job_manifest))\n"
    )
    python = interpreter("prefect_kubernetes")
    assert python is not None
    done = subprocess.run(
        [python, str(script), str(FILES / "base-job-template.json")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout.splitlines()[-1])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "A", "value": "1"} in container["env"]
    assert container["args"] == ["prefect", "flow-run", "execute"]


def test_the_worker_is_of_the_locked_prefect_and_its_secrets_are_no_runs() -> None:
    (container,) = WORKER["Deployment"]["spec"]["template"]["spec"]["containers"]
    (locked,) = re.findall(
        r"^prefect==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    assert container["image"].rpartition(":")[2].startswith(f"{locked}-")
    command = container["command"]
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "worker", "start", "--help"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for option in [word for word in command if word.startswith("--")]:
        assert option in done.stdout
    assert command[command.index("--pool") + 1] == "mixnet"
    secrets = [one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one]
    assert secrets == ["mixnet-server"]
    rules = WORKER["Role"]["rules"]
    assert "secrets" not in str(rules)
    assert "*" not in str(rules)
