from __future__ import annotations

import json
from pathlib import Path

from mixnet_core.release.provenance import TEST_RESULT
from mixnet_core.revalidation.history import add_to_history, read_history
from mixnet_core.revalidation.statements import add_statements, verdict_of
from mixnet_core.revalidation.states import Claim, Revalidation
from mixnet_core.runs.values import Score

MEASURED = Revalidation(
    release="mine",
    uri="file:///r/mine",
    state="claim not supported",
    time="2026-11-29T20:00:00Z",
    sha256="0" * 64,
    dataset="e" * 64,
    measured=Score(count=10, correct1=5, correct5=9, loss=1.0),
    claims=(
        Claim(figure="top-1", claimed=0.9, measured=0.5, low=0.2, high=0.8, supported=False),
        Claim(figure="top-5", claimed=0.9, measured=0.9, low=0.6, high=1.0, supported=True),
    ),
    engine="openvino",
)
GONE = Revalidation(
    release="gone", uri="file:///r/gone", state="unreachable", time="2026-11-29T20:00:01Z"
)


def test_a_verdict_stands_beside_the_history_and_is_no_line_of_it(tmp_path: Path) -> None:
    registry = tmp_path.as_uri()
    add_to_history(registry, [MEASURED, GONE])
    uri = add_statements(registry, [MEASURED, GONE])
    assert uri is not None
    assert uri.startswith(f"{registry}/revalidations/statements/20261129T200001Z-")
    (line,) = Path(uri.removeprefix("file://")).read_text().splitlines()
    statement = json.loads(line)
    assert statement == verdict_of(MEASURED)
    assert statement["predicateType"] == TEST_RESULT
    assert statement["subject"][0]["digest"] == {"sha256": "0" * 64}
    predicate = statement["predicate"]
    assert predicate["result"] == "FAILED"
    assert predicate["failedTests"] == ["top-1 90.00 % claimed, 50.00 % measured"]
    assert predicate["passedTests"] == ["top-5 90.00 % claimed, 90.00 % measured"]
    assert read_history(registry) == [MEASURED, GONE]


def test_the_same_verdicts_again_are_one_file_and_none_are_no_file(tmp_path: Path) -> None:
    registry = tmp_path.as_uri()
    assert add_statements(registry, [MEASURED]) == add_statements(registry, [MEASURED])
    assert len(list((tmp_path / "revalidations" / "statements").iterdir())) == 1
    assert add_statements(registry, [GONE]) is None
    assert verdict_of(GONE) is None
