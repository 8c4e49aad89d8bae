"""Artifacts in Prefect's dashboard: those that are made once, and those that are written over.

A picture that is refreshed every minute of two days must not leave thousands of rows: a kept
artifact is one row of its flow run, whatever attempt of whichever task writes it. The dashboard
takes descriptions and tables' cells for Markdown; the functions here take plain text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from httpx import HTTPStatusError, codes
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterType,
)
from prefect.client.schemas.sorting import ArtifactSort
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from mixnet_core.runs.markup import in_markdown
from mixnet_flows.impatience import impatient


class KeptArtifact:
    """One artifact that is made when it is first shown, and written over from then on.

    Args:
        kind: what is shown: of an image its address, of progress a percentage, of Markdown a text.
        key: as `artifact_key` returns it.
        taken_over: whether one that this flow run has under the key is written over as well, as of
            an attempt before.
    """

    def __init__(
        self,
        kind: Literal["image", "markdown", "progress"],
        key: str,
        *,
        taken_over: bool = False,
    ) -> None:
        self._kind, self._key = kind, key
        self._looks = taken_over
        self._id: UUID | None = None

    @property
    def is_made(self) -> bool:
        """Tells whether it was shown yet."""
        return self._id is not None

    def show(self, data: str | float, description: str) -> None:
        """Makes it, or writes it over.

        Raises:
            Exception: the server does not take it, or does not answer.
        """
        text = in_markdown(description)
        if self._looks:
            self._id = self._of_flow_run()
            self._looks = False
        if self._id is not None and self._written_over(self._id, data, text):
            return
        made = self._created(data, text)
        # No coroutine: stages run outside of any event loop.
        assert isinstance(made, UUID)
        self._id = made

    def _created(self, data: Any, text: str) -> UUID | Coroutine[Any, Any, UUID]:
        if self._kind == "image":
            return create_image_artifact(data, self._key, text)
        if self._kind == "markdown":
            return create_markdown_artifact(data, self._key, text)
        return create_progress_artifact(data, self._key, text)

    def _written_over(self, artifact: UUID, data: Any, text: str) -> bool:
        """Writes over what is there; False where it was deleted, as old ones are."""
        update = ArtifactUpdate(data=data, description=text)
        try:
            # Not `update_artifact`, which emits an event with all of the data: a picture a minute
            # and a tick a second for two days fill the server's database, and nothing reads them.
            get_client(sync_client=True).request(
                "PATCH",
                "/artifacts/{id}",
                path_params={"id": artifact},
                json=update.model_dump(mode="json", exclude_unset=True),
            )
        except HTTPStatusError as error:
            if error.response.status_code != codes.NOT_FOUND:
                raise
            return False
        return True

    def _of_flow_run(self) -> UUID | None:
        if not flow_run.id:
            return None
        found = get_client(sync_client=True).read_artifacts(
            artifact_filter=ArtifactFilter(
                key=ArtifactFilterKey(any_=[self._key]),
                type=ArtifactFilterType(any_=[self._kind]),
                flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run.id)]),
            ),
            sort=ArtifactSort.UPDATED_DESC,
            limit=1,
        )
        return found[0].id if found else None


def show_markdown(key: str, file: Path, description: str) -> None:
    """Shows a file's text as a markdown artifact."""
    text = in_markdown(description)
    tried(lambda: create_markdown_artifact(file.read_text(encoding="utf-8"), key, text))


def show_image(key: str, png: Callable[[], bytes], description: str) -> None:
    """Shows a PNG as this flow run's image artifact under the key."""
    kept = KeptArtifact("image", key, taken_over=True)
    tried(lambda: kept.show(data_uri(png()), description))


def show_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    """Shows rows as a table artifact."""
    plain = [
        {name: in_markdown(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in rows
    ]
    tried(lambda: create_table_artifact(plain, key, in_markdown(description)))


def artifact_key(run: str, what: str) -> str:
    """Returns a key as Prefect wants it, of a-z 0-9 -; equal keys share a history."""
    return re.sub(r"[^a-z0-9-]", "-", f"{run}-{what}")


def data_uri(png: bytes) -> str:
    """Returns a picture as an address that needs no other server."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def tried(show: Callable[[], object], *, at_once: bool = False) -> bool:
    """Shows something; a dashboard that does not take it costs a warning, never a stage.

    Args:
        at_once: whether it is now or never. Prefect's client waits a minute for a server that is
            away, in which nobody would look after the ranks; what comes again can do without.

    Returns:
        Whether it was shown.
    """
    try:
        with impatient() if at_once else nullcontext():
            show()
    except Exception as error:
        line = " ".join(f"{type(error).__name__} {error}".split())
        get_run_logger().warning("the dashboard lacks something: %s", line)
        return False
    return True
