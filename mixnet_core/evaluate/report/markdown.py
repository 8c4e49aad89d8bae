"""A report's data as Markdown, for a terminal, a code host and Prefect's dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixnet_core.evaluate.report.images import images_facts, measured_sentence
from mixnet_core.runs.markup import in_markdown, literal, sentence_in_markdown
from mixnet_core.runs.summaries import rewound

# How many of the worst classes and the most frequent confusions it lists; the page and the data
# have more.
_ROWS = 10


def report_markdown(data: Mapping[str, Any]) -> str:
    """Writes `data.report_data`'s values for people: percentages with two decimals, digests cut."""
    acceptance = data["acceptance"]
    parts = [
        f"# {data['run']}",
        *([f"Release: `{data['release']}`"] if data["release"] else []),
        _val_table(data["val"], data.get("unseen")),
        measured_sentence(data),
        f"Expected calibration error: {_percent(data['calibration']['error'])} %.",
        *(["## Acceptance", _acceptance_list(acceptance)] if acceptance else []),
        "## What was trained",
        _rows(["", ""], [[in_markdown(n), sentence_in_markdown(t)] for n, t in facts(data)]),
        "## Batch",
        in_markdown(sentence(data["batch"]["sentence"])),
        "## Candidates on the select split",
        f"Rule: {in_markdown(data['selection']['rule'])}",
        _candidates_table(data["selection"]["candidates"]),
        "## Classes",
        _classes_table(data["classes"]),
        *_confused(data["confusions"]),
    ]
    return "\n\n".join(parts) + "\n"


def facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what was trained, on what and how: (name, text that may hold `code`)."""
    recipe, dataset, training = data["recipe"], data["dataset"], data["training"]
    checkpoint = data["checkpoint"]
    found = {
        "recipe": [literal(recipe["name"]), f"fingerprint `{recipe['fingerprint'][:12]}`"],
        "network": [
            f"MixNet-{recipe['variant'].upper()}",
            f"{recipe['flavour']} flavour",
            f"{recipe['image_size']} px",
        ],
        "dataset": [
            literal(dataset["source"]),
            f"{dataset['classes']} classes",
            *(f"{split} {dataset['counts'][split]:,}" for split in ("train", "select", "val")),
            f"fingerprint `{dataset['fingerprint'][:12]}`",
        ],
        **images_facts(data),
        "training": [
            f"{training['epochs']} epochs",
            f"{training['steps']} steps",
            f"{training['ranks']} rank{'s' if training['ranks'] > 1 else ''}",
            f"final loss {training['loss']:.4f}",
            f"{training['images_per_second']:.1f} img/s",
            f"{training['seconds']:.0f} s",
            *([f"resumed after step {start}"] if (start := training["resumed_from_step"]) else []),
            *map(literal, training["changes"]),
            *(
                [f"{unreadable} unreadable images replaced"]
                if (unreadable := training["unreadable_images"])
                else []
            ),
            # An earlier version's report has neither.
            *(
                [rewound(rewinds, len(training["steps_left_out"]))]
                if (rewinds := training.get("rewinds"))
                else []
            ),
        ],
        "checkpoint": [
            f"epoch {checkpoint['epoch']}",
            f"step {checkpoint['step']}",
            checkpoint["weights"],
            *(
                [f"of steps {' '.join(map(str, steps))}"]
                if (steps := checkpoint["mean_of"])
                else []
            ),
            f"sha256 `{checkpoint['sha256']}`",
        ],
        "evaluation": [f"{data['evaluation']['images_per_second']:.1f} img/s"],
        "environment": [literal(f"{name} {text}") for name, text in data["environment"].items()],
    }
    return [(name, ", ".join(parts)) for name, parts in found.items()]


def _val_table(val: Mapping[str, Any], unseen: Mapping[str, Any] | None) -> str:
    """Returns the figures on all images, and where some were seen those on the others."""
    header = ["top-1 %", "95 % interval", "top-5 %", "95 % interval", "loss", "images"]
    if unseen is None:
        return table(header, [_figures(val)])
    rows = [["all", *_figures(val)], ["not seen in training or selection", *_figures(unseen)]]
    return table(["val images", *header], rows)


def _figures(val: Mapping[str, Any]) -> list[str]:
    def interval(figure: str) -> str:
        return f"{_percent(val[f'{figure}_low'])} – {_percent(val[f'{figure}_high'])}"

    top1, top5 = _percent(val["top1"]), _percent(val["top5"])
    return [top1, interval("top1"), top5, interval("top5"), *_loss_and_count(val)]


def _acceptance_list(acceptance: Mapping[str, Any]) -> str:
    lines = [
        f"- {'✓' if check['ok'] else '✗'} {in_markdown(check['line'])}"
        for check in acceptance["checks"]
    ]
    lines = lines or ["- nothing is demanded by the recipe"]
    if acceptance["override"] is not None:
        lines.append(f"- accepted anyway: {in_markdown(acceptance['override'])}")
    return "\n".join(lines)


def _classes_table(classes: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            item["name"],
            _percent(item["accuracy"]),
            f"{_percent(item['low'])} – {_percent(item['high'])}",
            f"{item['count']:,}",
        ]
        for item in classes[:_ROWS]
    ]
    worst = f"The worst {_ROWS} of {len(classes):,}:\n\n" if len(classes) > _ROWS else ""
    return worst + table(["class", "top-1 %", "95 % interval", "images"], rows)


def _confused(confusions: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [item["label"], item["answer"], f"{item['count']:,}", _percent(item["share"])]
        for item in confusions[:_ROWS]
    ]
    header = ["label", "answer", "images", "% of the label's"]
    return ["## Most confused", table(header, rows)] if rows else []


def _candidates_table(candidates: Sequence[Mapping[str, Any]]) -> str:
    return table(
        ["epoch", "step", "weights", "top-1 %", "top-5 %", "loss", "images", "chosen"],
        [
            [
                str(candidate["epoch"]),
                str(candidate["step"]),
                candidate["weights"],
                _percent(candidate["top1"]),
                _percent(candidate["top5"]),
                *_loss_and_count(candidate),
                "✓" if candidate["chosen"] else "",
            ]
            for candidate in candidates
        ],
    )


def _loss_and_count(score: Mapping[str, Any]) -> list[str]:
    return [f"{score['loss']:.4f}", str(score["count"])]


def sentence(text: str) -> str:
    """Returns the text with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table whose cells show the texts as they are, whoever chose them."""
    return _rows(list(map(in_markdown, header)), [list(map(in_markdown, row)) for row in rows])


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of cells that are Markdown already, each on one line."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
