"""What is handed out for several hosts trains the run that it prepares, by its own words."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mixnet_core.cli.app import main
from tests.data.samples import write_image_folder

ROOT = Path(__file__).parents[2]


def of_the_document(folder: Path) -> list[list[str]]:
    text = (ROOT / "docs/how-to/several-hosts.md").read_text()
    first = text.partition("```sh\n")[2].partition("```")[0]
    lines = re.findall(r"^mixnet (.*?)(?:\s+#.*)?$", first, re.MULTILINE)
    return [shlex.split(line) for line in lines if "--node-rank 1" not in line]


def of_the_jobset(folder: Path) -> list[list[str]]:
    jobset = yaml.safe_load((ROOT / "infra/kubernetes/jobset.yaml").read_text())
    found = []
    for job in jobset["spec"]["replicatedJobs"]:
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        words = [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in container["args"]]
        found.append(words[1:])
    return found


def of_the_batch_script(folder: Path) -> list[list[str]]:
    """With stand-ins that start one task each, and write down what it is told."""
    programs = {
        "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nSLURM_NODEID=0 exec "$@"\n',
        "scontrol": "#!/bin/bash\necho 192.0.2.1\n",
        "mixnet": f'#!/bin/bash\nprintf "%q " "$@" >> {folder}/told; echo >> {folder}/told\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "4", "SLURM_JOB_NODELIST": "n[0-3]"}
    environment = {**os.environ, **slurm, "MIXNET_HOME": "w", "PATH": f"{folder}:/usr/bin:/bin"}
    script = ROOT / "infra/slurm/train.sbatch"
    told = ["bash", script, "mixnet_s", "/data/imagenet", "big"]
    subprocess.run(told, env=environment, check=True)
    return [shlex.split(line) for line in (folder / "told").read_text().splitlines()]


@pytest.mark.parametrize("words_of", [of_the_document, of_the_jobset, of_the_batch_script])
def test_the_training_that_is_told_is_of_the_run_that_was_prepared(
    words_of,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 9, "bee": 9}, {"ant": 2, "bee": 2})
    monkeypatch.setenv("MIXNET_HOME", str(tmp_path / "workspace"))

    def done(words: list[str]) -> tuple[int, str]:
        here = {"mixnet_s": "digits", "/shared/workspace": str(tmp_path / "workspace")}
        here |= dict.fromkeys(("/data/imagenet", "/shared/imagenet"), str(images))
        told = [here.get(word, word) for word in words]
        if "--master" in told:
            told[told.index("--master") + 1] = "192.0.2.1"
        monkeypatch.setattr(sys, "argv", ["mixnet", *told])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    *before, train, _ = words_of(tmp_path)
    assert train[0] == "train"
    assert [done(words)[0] for words in before] == [0] * len(before)
    # It is told which run, and which host it is: nobody has the address.
    code, said = done(train)
    assert (code, "--master 192.0.2.1 is 192.0.2.1, no address of this host" in said) == (2, True)
