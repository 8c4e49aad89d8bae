"""Writes a run's report: as data, as Markdown, and as a page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixnet_core.data.index import read_index
from mixnet_core.evaluate.report.markdown import report_markdown
from mixnet_core.evaluate.report.page import report_page
from mixnet_core.evaluate.report.thumbnails import thumbnails
from mixnet_core.evaluate.report.view import report_view
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.storage.files import write_json, write_text


def write_report(run: RunDir, dataset: PreparedDataset, report: Mapping[str, Any]) -> None:
    """Writes `data.report_data`'s values in three forms, the page with the images it names.

    Raises:
        MachineError: the disk is full or not writable.
    """
    write_page(run.report_page, dataset, report_view(report))
    write_text(run.report_markdown, report_markdown(report))
    write_json(run.report_json, report)


def write_page(path: Path, dataset: PreparedDataset, view: Mapping[str, Any]) -> None:
    """Writes a page of `evaluate.report.view`, with small pictures of the images that it names.

    Raises:
        MachineError: the disk is full or not writable.
    """
    named = [image["position"] for some in view["images"].values() for image in some]
    pictures = thumbnails(read_index(Path(dataset.root), "val"), named)
    write_text(path, report_page(view, pictures))


def report_is_there(run: RunDir) -> bool:
    """Tells whether all files of a run's report stand, and its predictions."""
    return all(
        path.is_file()
        for path in (run.report_json, run.report_markdown, run.report_page, run.predictions)
    )
