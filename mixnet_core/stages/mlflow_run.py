"""A finished run handed over to MLflow: its recipe as parameters, its rows and score as metrics.

An MLflow run is made whole, then those of earlier calls are deleted: handed over twice, it stands
there once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from mixnet_core.errors import InputError, MachineError, MixnetError
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.records import recorded
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import TrainedRun, Validation
from mixnet_core.stages.comparison import flat
from mixnet_core.storage.uris import refuse_credentials, shown_words
from mixnet_core.train.event_file import scalars
from mixnet_core.train.metrics import read_metrics

EXPERIMENT = "mixnet"
VARIABLE = "MLFLOW_TRACKING_URI"
# What MLflow takes at once.
_MOST_METRICS = 1000
_MOST_PARAMETERS = 100
_MOST_LETTERS = 500
# Names the folder that a run of MLflow's was made from.
_FOLDER = "mixnet.run_dir"


def hand_over(
    run: RunDir, recipe: Recipe, uri: str | None = None, experiment: str = EXPERIMENT
) -> str:
    """Makes an MLflow run of a finished one.

    Args:
        uri: of the tracking server or database; None: what MLFLOW_TRACKING_URI says.
        experiment: its name; made if missing.

    Returns:
        The id of MLflow's run.

    Raises:
        InputError: the run has not finished training, no server is named, or the URI holds
            credentials.
        MachineError: mlflow-skinny is not installed, or the server did not take it.
    """
    refuse_credentials(uri, experiment)
    trained = recorded(run, "train", TrainedRun)
    if not uri and not os.environ.get(VARIABLE):
        raise InputError(
            f"no MLflow is named: give --tracking-uri, or set {VARIABLE}, as in "
            "http://127.0.0.1:5000 or sqlite:///mlflow.db"
        )
    # It tells its makers about every call otherwise.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise MachineError(
            f"MLflow's client is missing ({error}): pip install 'mindspore-mixnet[mlflow]'"
        ) from error
    try:
        return _made(MlflowClient(tracking_uri=uri), run, recipe, trained, experiment)
    except MixnetError:
        raise
    except Exception as error:
        # Errors of its many libraries, some of which repeat the URL.
        said = shown_words(str(error))[:_MOST_LETTERS]
        raise MachineError(
            f"MLflow did not take run {run.name} ({type(error).__name__}: {said}): check that it "
            "answers, and that it lets you write"
        ) from None


def _made(client: Any, run: RunDir, recipe: Recipe, trained: TrainedRun, experiment: str) -> str:
    rows = read_metrics(run.metrics)
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    folder = str(run.root.absolute())
    # MLflow's filters know no way to write a quotation mark within two of them.
    like = re.sub(r"['\\]", "_", folder)
    alike = client.search_runs([place], filter_string=f"tags.`{_FOLDER}` LIKE '{like}'")
    before = [old for old in alike if old.data.tags.get(_FOLDER) == folder]
    tags = {
        _FOLDER: folder,
        "mixnet.recipe": recipe.name,
        "mixnet.recipe_fingerprint": recipe.fingerprint,
        "mixnet.variant": recipe.network.variant,
        "mixnet.ranks": str(trained.ranks),
    }
    times = [int(1000 * row["time"]) for row in rows if "time" in row]
    made: str = client.create_run(
        place, start_time=times[0] if times else None, tags=tags, run_name=run.name
    ).info.run_id
    try:
        parameters, metrics = _parameters(recipe), _metrics(run, rows)
        while some := list(islice(parameters, _MOST_PARAMETERS)):
            client.log_batch(made, params=some)
        while some := list(islice(metrics, _MOST_METRICS)):
            client.log_batch(made, metrics=some)
        client.set_terminated(made, "FINISHED", end_time=times[-1] if times else None)
    except BaseException:
        # Half of a run would be taken for one.
        client.delete_run(made)
        raise
    for old in before:
        client.delete_run(old.info.run_id)
    return made


def _parameters(recipe: Recipe) -> Iterator[Any]:
    from mlflow.entities import Param

    for key, value in flat(recipe.model_dump(mode="json")).items():
        text = str(value)
        yield Param(key, text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}...")


def _metrics(run: RunDir, rows: Sequence[dict[str, Any]]) -> Iterator[Any]:
    from mlflow.entities import Metric

    for row in rows:
        for name, value in scalars(row):
            yield Metric(name, value, int(1000 * row["time"]), row["step"])
    try:
        validation = recorded(run, "validate", Validation)
    except InputError:
        # It was not validated yet.
        return
    time = int(1000 * run.record("validate").stat().st_mtime)
    step, score = validation.checkpoint.step, validation.score
    for name, value in (("top1", score.top1), ("top5", score.top5), ("loss", score.loss)):
        yield Metric(f"val/{name}", value, time, step)
