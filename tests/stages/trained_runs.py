"""Runs as training leaves them, written by the test: what a page and a scraper read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mixnet_core.recipe.recipe import load_recipe, save_recipe
from mixnet_core.runs.run_dir import RunDir, Workspace


def metric_rows(
    epochs: int, *, of: int = 10, steps: int = 4, lr: float = 0.1, start: float = 1.7e9
) -> list[dict[str, Any]]:
    """The rows of a training that did some of its epochs."""
    rows: list[dict[str, Any]] = [
        {"event": "start", "step": 0, "steps": of * steps, "epochs": of, "ranks": 2,
         "images_per_step": 8, "compiled": False, "changes": []},
        {"event": "compiled", "step": 1, "seconds": 9.0},
    ]  # fmt: skip
    for step in range(1, epochs * steps + 1):
        loss = 2.3 * math.exp(-lr * step / steps) + 0.05 * math.sin(step)
        rows.append(
            {"event": "step", "step": step, "epoch": 1 + (step - 1) // steps, "loss": loss,
             "lr": lr, "images_per_second": 0.0 if step == 1 else 45.0 + math.cos(step),
             "data_wait": None if step == 1 else 0.02}
        )  # fmt: skip
        if step % steps == 0:
            epoch = step // steps
            rows += [
                {"event": "epoch", "step": step, "epoch": epoch, "loss": loss, "seconds": 9.0,
                 "unreadable": 0},
                {"event": "score", "step": step, "epoch": epoch, "file": "weights.ckpt",
                 "count": 1000, "correct1": int(950 - 700 * math.exp(-lr * epoch)),
                 "correct5": 990, "loss": 1.0},
                {"event": "score", "step": step, "epoch": epoch, "file": "ema.ckpt",
                 "count": 1000, "correct1": 999, "correct5": 999, "loss": 1.0},
            ]  # fmt: skip
    return [row | {"time": start + 10 * number} for number, row in enumerate(rows)]


def write_rows(run: RunDir, rows: list[dict[str, Any]]) -> None:
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_run(
    workspace: Workspace, name: str, rows: list[dict[str, Any]], **settings: Any
) -> RunDir:
    """A run with a recipe that differs from the bundled one in some keys."""
    run = workspace.run(name)
    run.root.mkdir(parents=True)
    recipe = settings.pop("recipe", "digits")
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    save_recipe(load_recipe("digits", changed).model_copy(update={"name": recipe}), run.recipe)
    write_rows(run, rows)
    return run


def some_runs(root: Path) -> Workspace:
    """A workspace with runs of every kind."""
    made = Workspace(root)
    write_run(made, "slow-rate", metric_rows(6, lr=0.1), schedule__lr=0.1)
    write_run(made, "fast-rate", metric_rows(8, lr=0.3), schedule__lr=0.3)
    write_run(made, "as-slow", metric_rows(3, lr=0.12), schedule__lr=0.1, training__seed=7)
    write_run(made, "compiling", metric_rows(0))
    write_run(made, "first-epoch", metric_rows(1, steps=20)[:12], recipe="<b>bold</b>")
    broken = made.run("broken-recipe")
    broken.root.mkdir()
    broken.recipe.write_text("recipe: [")
    write_rows(broken, metric_rows(2))
    strange = made.run("strange-rows")
    strange.root.mkdir()
    strange.metrics.write_text('{"event": "step", "step": "many"}\n[1]\n')
    return made
