"""JobSet's own fields, as far as infra/kubernetes/jobset.yaml uses any: names, types, choices.

Facts of its custom resource definition, v1alpha2 (kubernetes-sigs/jobset, commit 08dfbdf of 2026,
config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml). No package carries that file; with
MIXNET_JOBSET_CRD=FILE the tests hold the JobSet to the file itself too.
"""

from __future__ import annotations

from typing import Any


def _of(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": fields,
    }


_TEXT, _NUMBER, _SWITCH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_RULE = _of(
    ("action", "name"),
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={
        "enum": [
            "FailJobSet",
            "RestartJobSet",
            "RestartJobSetAndIgnoreMaxRestarts",
            "RestartJob",
            "RestartJobAndIgnoreMaxRestarts",
        ]
    },
    onJobFailureReasons={
        "type": "array",
        # Reasons of a Job's condition Failed.
        "items": {
            "enum": [
                "BackoffLimitExceeded",
                "DeadlineExceeded",
                "FailedIndexes",
                "MaxFailedIndexesExceeded",
                "PodFailurePolicy",
            ]
        },
    },
    onJobFailureMessagePatterns=_TEXTS,
    targetReplicatedJobs=_TEXTS,
)
JOBSET = _of(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata={"type": "object"},
    spec=_of(
        ("replicatedJobs",),
        network=_of(enableDNSHostnames=_SWITCH, publishNotReadyAddresses=_SWITCH, subdomain=_TEXT),
        coordinator=_of(
            ("replicatedJob",), replicatedJob=_TEXT, jobIndex=_NUMBER, podIndex=_NUMBER
        ),
        successPolicy=_of(
            ("operator",), operator={"enum": ["All", "Any"]}, targetReplicatedJobs=_TEXTS
        ),
        failurePolicy=_of(
            maxRestarts=_NUMBER,
            restartStrategy={"enum": ["Recreate", "BlockingRecreate", "InPlaceRestart"]},
            rules={"type": "array", "items": _RULE},
        ),
        suspend=_SWITCH,
        ttlSecondsAfterFinished=_NUMBER,
        replicatedJobs={
            "type": "array",
            "items": _of(
                ("name", "template"),
                name=_TEXT,
                groupName=_TEXT,
                replicas=_NUMBER,
                template={"type": "object"},
                dependsOn={
                    "type": "array",
                    "items": _of(
                        ("name", "status"), name=_TEXT, status={"enum": ["Ready", "Complete"]}
                    ),
                },
            ),
        },
    ),
)
