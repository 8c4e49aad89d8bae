"""How much of val may stand in training or selection: a figure on such images says little."""

from __future__ import annotations

from mixnet_core.data.index import overlap_of
from mixnet_core.runs.values import DUPLICATES_FILE, Check, PreparedDataset
from mixnet_core.stages.demand import Demand
from mixnet_core.storage.uris import shown_value


class MaxValOverlap(Demand):
    """A share of the val images, byte for byte; it is counted, so there is no interval."""

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(
                f"acceptance.max_val_overlap must be a share in 0..1, got {shown_value(value)}"
            )

    def judge_images(self, value: object, dataset: PreparedDataset) -> Check | None:
        assert isinstance(value, int | float)
        seen, count = overlap_of(dataset).val_in_training, dataset.counts["val"]
        if seen is None:
            return None
        line = (
            f"{seen:,} of {count:,} val images ({100 * seen / count:.2f} %) stand in train or "
            "select, byte for byte"
        )
        if seen > value * count:
            return Check(
                ok=False,
                line=f"{line}, more than the allowed {100 * value:.2f} %: {DUPLICATES_FILE} of the "
                "prepared dataset lists them",
            )
        return Check(ok=True, line=f"{line}, {100 * value:.2f} % allowed")


DEMAND = MaxValOverlap()
