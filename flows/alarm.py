"""The flow `mixnet-alarm`: what an automation starts when a release is not what it claims to be."""

from __future__ import annotations

from prefect import flow
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.logging import get_run_logger

from flows.mixnet import Text
from flows.showing import artifact_key, show_table
from mixnet_core.errors import InputError


@flow(name="mixnet-alarm", flow_run_name="{release}: {state}")
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
    get_run_logger().error("%s", line)
    rows = [{"release": release, "state": state, "uri": uri, "line": line}]
    show_table(artifact_key(release, "alarm"), rows, f"{release}: {state}")
    if notify is None:
        return
    block = Block.load(notify)
    if not isinstance(block, NotificationBlock):
        raise InputError(f"{notify} is no notification block: expected one that has `notify`")
    # Outside of a running event loop it is no coroutine, whatever its type says.
    block.notify(line, subject=f"mixnet: {release} {state}")  # type: ignore[unused-coroutine]
