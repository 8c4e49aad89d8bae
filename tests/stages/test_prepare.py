"""What a run trains on stays on record, whatever becomes of the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_core.runs.records import begin
from mixnet_core.stages.context import open_context
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.prepare import prepare
from tests.data.samples import small_recipe, write_image_folder


def test_images_that_changed_since_training_began_do_not_take_its_place(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ant": 9, "bee": 9}, {"ant": 2, "bee": 2})
    context = open_context(small_recipe(images, 2), tmp_path / "workspace", run="r")
    before = prepare(context)
    begin(context.run, "train", "key", "another dataset", before)
    assert prepare(context).fingerprint == before.fingerprint
    next((images / "train" / "ant").iterdir()).unlink()
    goes_on = r"was begun with another dataset, .*: `mixnet train --run r` goes on with that"
    with pytest.raises(InputError, match=goes_on):
        prepare(context)
    on_record = OnRecord(context.recipe, context.run).dataset()
    assert (on_record.fingerprint, on_record.root) == (before.fingerprint, before.root)
