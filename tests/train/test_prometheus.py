"""The text for Prometheus, read back by the rules of its exposition format."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict

from mixnet_core.train.figures import Figures, figures_of
from mixnet_core.train.prometheus import RunFigures, prometheus_text
from tests.stages.trained_runs import metric_rows

_SAMPLE = re.compile(r'([a-z_0-9]+)\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\} (\S+)')
_LABEL = re.compile(r'([a-z]+)="((?:[^"\\\n]|\\.)*)"')


def samples(text: str) -> dict[tuple[str, str], float]:
    """(metric, run) -> value; fails where the text is none that the node exporter takes."""
    found: dict[tuple[str, str], float] = {}
    told: set[str] = set()
    current = ""
    assert text == "" or text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            _, what, name, rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE")
            if what == "HELP":
                # All of one metric stand together, and each is told of once.
                assert name not in told
                told.add(name)
                current = name
            else:
                assert name == current
                assert rest in ("gauge", "counter")
                assert (rest == "counter") is name.endswith("_total")
            continue
        # A time behind the value would be refused.
        match = _SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] == current
        labels = dict(_LABEL.findall(match[2]))
        key = (match[1], labels["run"])
        assert key not in found
        found[key] = float(match[3])
    return found


def test_what_is_known_is_there_and_what_is_not_is_left_out() -> None:
    figures = figures_of(metric_rows(3))
    runs = [
        RunFigures("a", "digits", "s", True, figures, restarts=2, last_sign=1.75e9),
        RunFigures("b", "", "", False, Figures(loss=math.nan)),
    ]
    found = samples(prometheus_text(runs))
    assert found["mixnet_steps_done", "a"] == 12
    assert found["mixnet_steps", "a"] == 40
    assert found["mixnet_epochs_done", "a"] == 3
    assert found["mixnet_images_per_second", "a"] > 40
    assert found["mixnet_data_wait_ratio", "a"] == 0.02
    assert found["mixnet_restarts_total", "a"] == 2
    assert found["mixnet_last_sign_of_life_timestamp_seconds", "a"] == 1.75e9
    assert found["mixnet_select_top1_best_ratio", "a"] == figures.best_top1
    assert {name for name, run in found if run == "b"} == {"mixnet_at_work", "mixnet_run_info"}
    assert prometheus_text([]) == ""


def test_names_and_secrets_of_a_recipe_break_no_line() -> None:
    name = 'a "b" \\ {c}\nd=1 s3://KEY:SECRET@bucket'
    text = prometheus_text([RunFigures("a", name, "s", False, Figures())])
    assert samples(text)["mixnet_run_info", "a"] == 1
    assert "SECRET" not in text


def test_an_attempt_that_compiles_is_not_as_fast_as_the_one_before() -> None:
    rows = metric_rows(2)
    again = {**rows[0], "step": 8, "time": rows[-1]["time"] + 5}
    figures = figures_of([*rows, again])
    assert (figures.images_per_second, figures.data_wait) == (None, None)
    assert (figures.step, figures.epoch, figures.time) == (8, 2, again["time"])
    assert figures.loss == rows[-4]["loss"]


def test_what_is_no_number_is_not_known_so_that_json_can_hold_the_figures() -> None:
    rows = metric_rows(1)
    broken = {**rows[2], "loss": math.nan, "lr": math.inf}
    figures = figures_of([*rows, broken])
    assert (figures.loss, figures.lr) == (None, None)
    json.dumps(asdict(figures), allow_nan=False)
