"""The flow `mixnet-alarm`: what an automation starts when a release is not what it claims to be."""

from __future__ import annotations

import re

from prefect import flow
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.logging import get_run_logger

from mixnet_core.errors import InputError
from mixnet_core.stages.options import Text
from mixnet_core.storage.uris import shown, shown_words
from mixnet_flows.artifacts import artifact_key, show_table
from mixnet_flows.guarded import guarded

_BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


@flow(name="mixnet-alarm", flow_run_name="{release}: {state}")
@guarded
def alarm(
    release: Text, state: Text, line: Text, uri: str = "", notify: Text | None = None
) -> None:
    """Say loudly that a release is not what it claims to be.

    Args:
        release: Name of the release.
        state: What re-validation found.
        line: The same in one line, with the figures.
        uri: Where the release is.
        notify: A notification block of this server, as slack-webhook/NAME or
            custom-webhook/NAME, that the line is sent to.
    """
    line = shown_words(line)
    get_run_logger().error("%s", line)
    rows = [{"release": release, "state": state, "uri": shown(uri), "line": line}]
    show_table(artifact_key(release, "alarm"), rows, f"{release}: {state}")
    if notify is None:
        return
    if not _BLOCK.fullmatch(notify):
        # Not quoted: people paste a webhook's address, which is a secret.
        raise InputError("notify is no block: expected TYPE/NAME, as in slack-webhook/NAME")
    block = Block.load(notify)
    if not isinstance(block, NotificationBlock):
        raise InputError(f"{notify} is no notification block: expected one that has `notify`")
    # Outside of a running event loop it is no coroutine, whatever its type says.
    block.notify(line, subject=f"mixnet: {release} {state}")  # type: ignore[unused-coroutine]
