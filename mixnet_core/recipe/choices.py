"""A recipe's sections on what a training ends with: which weights, and whether they will do.

They change nothing of what training computes, so a run that has them otherwise is the same run.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.recipe.kinds import DEMANDS, FORMATS, POLICIES, one_of
from mixnet_core.recipe.sections import Place, Section, Share, Words
from mixnet_core.storage.uris import shown_words

UNKNOWN = "unknown key acceptance.{key}{near}"


class Selection(Section):
    """Which weights a run ends with, of the checkpoints of whole epochs."""

    policy: Annotated[str, one_of(POLICIES)] = Field(
        default="best",
        description="best: the highest top-1 on the select split, moving averages included; last: "
        "the last epoch's; ema: its moving averages; mean_best, mean_last: the mean of the weights "
        "of the best or last checkpoints, with BatchNorm statistics estimated anew",
    )
    mean_of: Annotated[int, Field(ge=1)] = Field(
        default=5, description="checkpoints that mean_best and mean_last take, or all there are"
    )
    statistics_images: Annotated[int, Field(ge=1)] = Field(
        default=4096,
        description="training images that a mean's BatchNorm statistics are estimated on, at least",
    )
    score_in_training: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="score every checkpoint of a whole epoch on the select split once it is saved; "
        "auto: where the policy goes by figures and training saves more checkpoints than it keeps",
    )


class Export(Section):
    """Which files a release holds besides its weights, each proven to predict as they do."""

    formats: tuple[Annotated[str, one_of(FORMATS)], ...] = Field(
        default=(),
        description="as the option --to names them, with _ for -; what is not proven is not "
        "published",
    )
    int8_max_drop: Annotated[float, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="percentage points of top-1 on the val images that eight bits may lose against "
        "float32",
    )
    calibration_images: Annotated[int, Field(ge=1)] = Field(
        default=512, description="training images that eight bits are calibrated on, at most"
    )


class Acceptance(Section):
    """What a validated checkpoint must reach to be published.

    A key that is no field here is one of `stages.demands`.
    """

    model_config = ConfigDict(extra="allow")

    min_top1: Share | None = Field(
        default=None,
        description="share of the val images; refused if it lies above the 95 % interval of what "
        "was measured; null: nothing is demanded",
    )
    min_top5: Share | None = Field(default=None, description="as min_top1")
    replaces: Place | None = Field(
        default=None,
        description="a release's name or URI that both are measured against on the same images; "
        "null: none",
    )
    max_drop: Share = Field(
        default=0.0,
        description="share of the val images by which top-1 may be below that of `replaces`: more "
        "is refused where it is not by chance",
    )
    significance: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="one-sided, of McNemar's exact test against `replaces`"
    )

    @classmethod
    def more_keys(cls) -> tuple[str, ...]:
        return DEMANDS.names()

    @model_validator(mode="after")
    def _known(self) -> Acceptance:
        for key, value in (self.model_extra or {}).items():
            if key not in self.more_keys():
                near = did_you_mean(key, [*type(self).model_fields, *self.more_keys()])
                raise PydanticCustomError(
                    "unknown", UNKNOWN, {"key": shown_words(key), "near": near}
                )
            if value is not None:
                DEMANDS.load(key).check(value)
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Acceptance:
        if None not in (self.min_top1, self.min_top5) and self.min_top1 > self.min_top5:  # type: ignore[operator]
            raise ValueError(
                f"acceptance.min_top1 {self.min_top1} exceeds acceptance.min_top5 {self.min_top5}"
            )
        return self


class Attribution(Section):
    """What a release's card says and nobody can measure; null: the card leaves it empty."""

    author: Words | None = Field(default=None, description="who made it")
    license: Words | None = Field(
        default=None, description="of the weights: Apache2.0, as the hub writes it, mit, ..."
    )
    repo_link: Words | None = Field(default=None, description="where its source can be seen, a URL")
    user_id: Words | None = Field(default=None, description="on the hub")
