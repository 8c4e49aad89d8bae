"""What watchers are told while a stage works."""

from __future__ import annotations

from mixnet_core.runs.ticks import EvaluationTicks, Tick, TrainingTicks

START: dict[str, object] = {
    "event": "start",
    "step": 0,
    "steps": 20,
    "epochs": 2,
    "ranks": 2,
    "images_per_step": 32,
    "compiled": False,
    "changes": [],
}


def told(*rows: dict[str, object]) -> list[Tick]:
    ticks: list[Tick] = []
    watch = TrainingTicks(ticks.append)
    for row in rows:
        watch(dict(row))
    return ticks


def test_training_is_counted_in_images_with_the_speed_that_was_measured_last() -> None:
    step = {"event": "step", "step": 10, "epoch": 1, "loss": 1.25, "images_per_second": 80.0}
    epoch = {"event": "epoch", "step": 10, "epoch": 1, "loss": 1.5, "unreadable": 0}
    begun, running, done, damaged = told(START, step, epoch, epoch | {"unreadable": 3})
    assert (begun.done, begun.total, begun.images_per_second) == (0, 640, None)
    assert (running.done, running.share, running.milestone) == (320, 0.5, False)
    assert running.detail == "epoch 1/2, loss 1.250"
    assert (done.images_per_second, done.milestone) == (80.0, True)
    assert done.detail == "epoch 1/2 done, mean loss 1.500"
    assert damaged.detail == "epoch 1/2 done, mean loss 1.500, 3 unreadable images so far"


def test_a_resumed_training_says_where_from() -> None:
    (begun,) = told(START | {"step": 10})
    assert begun.detail == "resuming after step 10, compiling, 2 ranks"
    assert begun.done == 320


def test_what_happens_between_two_attempts_is_said_where_the_bar_stands() -> None:
    ticks: list[Tick] = []
    watch = TrainingTicks(ticks.append)
    watch.say("checkpoint step-00000004 is damaged")
    assert (ticks[0].done, ticks[0].total, ticks[0].share) == (0, None, 0.0)
    watch(START | {"step": 10})
    watch.say("stopped: killed; going on from step 4")
    watch(START | {"step": 4})
    _, _, said, resumed = ticks
    assert (said.done, said.total, said.milestone) == (320, 640, True)
    assert said.detail == "stopped: killed; going on from step 4"
    assert (resumed.done, resumed.total) == (128, 640)


def test_a_start_that_finds_its_graph_does_not_say_that_it_compiles() -> None:
    first = {"event": "compiled", "step": 11, "seconds": 2.4}
    begun, ready = told(START | {"step": 10, "compiled": True}, first)
    assert begun.detail == "resuming after step 10, reading the compiled graph, 2 ranks"
    assert ready.detail == "first step in 2 s"


def test_checkpoints_to_evaluate_add_up_to_one_count() -> None:
    ticks: list[Tick] = []
    row = {"event": "evaluate", "checkpoint": 1, "checkpoints": 4, "done": 30, "images": 100}
    EvaluationTicks("select", ticks.append)(row)
    assert (ticks[0].done, ticks[0].total, ticks[0].detail) == (130, 400, "checkpoint 2/4")


def test_a_run_that_computes_otherwise_than_before_says_what_changed() -> None:
    _, changed = told(START | {"step": 10, "changes": ["ranks 2 -> 3"]})
    assert changed.milestone
    assert changed.detail.startswith("otherwise than before: ranks 2 -> 3; not bit for bit")


def test_a_window_of_dropped_steps_has_no_loss_to_tell() -> None:
    row = {"event": "step", "step": 10, "epoch": 1, "loss": None, "images_per_second": 80.0}
    *_, running = told(START, row)
    assert running.detail == "epoch 1/2, all steps dropped"


def test_the_time_left_counts_from_the_end_of_compilation_and_anew_after_a_restart() -> None:
    first = {"event": "compiled", "step": 1, "seconds": 90.0, "time": 1000.0}
    step = {"event": "step", "step": 5, "epoch": 1, "loss": 1.0, "images_per_second": 9.0}
    rows = (
        START | {"time": 900.0},
        first,
        step | {"time": 1040.0},
        {"event": "epoch", "step": 10, "epoch": 1, "loss": 1.5, "unreadable": 0, "time": 1180.0},
        START | {"step": 10, "time": 1300.0},
        step | {"step": 20, "time": 1400.0},
    )
    assert [tick.seconds_left for tick in told(*rows)] == [None, None, 150.0, 200.0, None, None]


def test_the_running_line_holds_the_newest_score() -> None:
    score = {"event": "score", "step": 10, "epoch": 1, "file": "weights.ckpt", "count": 8}
    step = {"event": "step", "step": 15, "epoch": 2, "loss": 1.0, "images_per_second": 9.0}
    *_, scored, running = told(START, score | {"correct1": 6}, step)
    assert (scored.milestone, scored.routine, running.milestone) == (True, True, False)
    assert running.detail == "epoch 2/2, loss 1.000, select top-1 75.00 %"
