"""A run's report and predictions, once it is sure whose they are."""

from __future__ import annotations

from mixnet_core.errors import InputError
from mixnet_core.evaluate.report.write import report_is_there
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import (
    Validation,
)
from mixnet_core.storage.files import read_json, sha256_of


def evidence(run: RunDir, validation: Validation) -> dict[str, object]:
    """Reads the run's report, once it is sure that it and the predictions are this validation's.

    Raises:
        InputError: they are another one's, which was made since; or they are gone.
        IntegrityError: the report cannot be read.
    """
    if not report_is_there(run) or sha256_of(run.predictions) != validation.answers_sha256:
        raise InputError(
            f"{run.predictions} is not what this validation predicted: run `mixnet validate --run "
            f"{run.name}` again"
        )
    report: dict[str, object] = read_json(run.report_json)
    described = report.get("checkpoint")
    sha256 = described.get("sha256") if isinstance(described, dict) else None
    if sha256 != validation.checkpoint.weights_sha256:
        raise InputError(
            f"{run.report_json} is on another checkpoint than this validation: run `mixnet "
            f"validate --run {run.name}` again"
        )
    return report
