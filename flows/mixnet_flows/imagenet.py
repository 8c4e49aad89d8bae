"""The flow `mixnet-imagenet`: ImageNet's archives into an image folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from mixnet_core.data.imagenet.inputs import Archives
from mixnet_core.data.imagenet.progress import STAGE
from mixnet_core.data.imagenet.unpack import unpack_imagenet
from mixnet_core.data.imagenet.unpacked import UnpackedImageNet
from mixnet_core.stages.options import Text, open_workspace
from mixnet_core.storage.uris import refuse_credentials
from mixnet_flows.artifacts import show_markdown
from mixnet_flows.guarded import guarded
from mixnet_flows.showing import told
from mixnet_flows.tasks import worth_a_retry


# 30 and 120 s: another process unpacks into the same folder; what it has done is not done again.
@task(
    name="unpack",
    task_run_name="unpack imagenet",
    retries=2,
    retry_delay_seconds=[30, 120],
    retry_condition_fn=worth_a_retry,
    cache_policy=NO_CACHE,
)
def unpack(archives: Archives, target: Path, max_unusable: int, decode: bool) -> UnpackedImageNet:
    return told(
        STAGE,
        "imagenet",
        lambda watch: unpack_imagenet(
            archives, target, max_unusable=max_unusable, decode=decode, watch=watch
        ),
    )


@flow(name="mixnet-imagenet", flow_run_name="imagenet")
@guarded
def imagenet(
    train_tar: Text | None = None,
    val_tar: Text | None = None,
    devkit: Text | None = None,
    val_labels: Text | None = None,
    to: Text | None = None,
    subset: bool = False,
    md5sums: Text | None = None,
    max_unusable: Annotated[int, Field(ge=0)] = 0,
    decode: bool = True,
    workspace: Text | None = None,
) -> UnpackedImageNet:
    """Unpack ImageNet's archives into an image folder, checked; run again, it goes on.

    Args:
        train_tar: ILSVRC2012_img_train.tar on the worker's machine. Without it: val only.
        val_tar: ILSVRC2012_img_val.tar. Without it: train only.
        devkit: ILSVRC2012_devkit_t12.tar.gz, which has val's labels.
        val_labels: A file of val's labels instead of the devkit.
        to: Folder. Default: imagenet/ in the workspace.
        subset: The archives hold a part of ImageNet: published counts, classes and md5 are not
            demanded.
        md5sums: A file of the archives' digests, for the published ones.
        max_unusable: Images that may be left out because they do not decode.
        decode: Decode every image once; otherwise only headers are read.
        workspace: Folder on the worker's machine. Default: $MIXNET_HOME there, else ./workspace.
    """
    refuse_credentials(train_tar, val_tar, devkit, val_labels, to, md5sums, workspace)
    archives = Archives(
        train_tar=_path(train_tar),
        val_tar=_path(val_tar),
        devkit=_path(devkit),
        val_labels=_path(val_labels),
        md5sums=_path(md5sums),
        subset=subset,
    )
    target = Path(to).expanduser() if to else open_workspace(workspace).imagenet
    unpacked = unpack(archives, target, max_unusable, decode)
    show_markdown("imagenet-report", Path(unpacked.report), f"ImageNet in {unpacked.root}")
    return unpacked


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
