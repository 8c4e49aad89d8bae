"""The seven stages, each a plain function from small values to a small value.

    prepare -> fetch -> train -> select -> validate -> accept -> publish

A stage that finished before with equal inputs, and whose files are still there, returns what it
returned then, marked as reused. Flows and the command line call these and add nothing to them.
"""

from mixnet_core.stages.datasets_and_weights import fetch, prepare
from mixnet_core.stages.judging import accept, standing_decision, validate
from mixnet_core.stages.publishing import publish
from mixnet_core.stages.selection import select
from mixnet_core.stages.training import train

__all__ = [
    "accept",
    "fetch",
    "prepare",
    "publish",
    "select",
    "standing_decision",
    "train",
    "validate",
]
