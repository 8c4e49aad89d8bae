"""Where the logs of a stage's ranks are, as log lines, and their last lines when it failed."""

from __future__ import annotations

from prefect.logging import get_run_logger

from mixnet_core.processes.rank_logs import RankLog, named, newest_attempt, rank_logs
from mixnet_core.runs.markup import code_block, in_markdown
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.runs.ticks import Tick
from mixnet_flows.artifacts import KeptArtifact, artifact_key, tried

_LINES = 40
# Of hundreds of ranks nobody reads all; where they are is said of each.
_MOST_LOGS = 9


class LogWatch:
    """Says where the logs are as soon as an attempt begins; shows their ends after a failure.

    Args:
        stage: whose job's attempts are watched.
    """

    def __init__(self, run: RunDir, stage: str) -> None:
        self._run, self._stage = run, stage
        self._attempts = run.attempts(stage)
        # An attempt of earlier is not what this one is about.
        self._known = self._before = newest_attempt(self._attempts)

    def ticked(self, tick: Tick) -> bool:
        """Logs where the newest attempt's logs are, once."""
        # Looking into a folder at every row of a progress would be as often as they come.
        if tick.milestone and not tick.routine:
            newest = newest_attempt(self._attempts)
            if newest is not None and newest != self._known:
                self._known = newest
                get_run_logger().info("%s: logs: %s", self._stage, named(rank_logs(newest)))
        return True

    def ended(self) -> None:
        """Shows nothing: of a stage that went well nobody asks."""

    def failed(self, why: str) -> None:
        """Shows the last lines of the newest attempt's logs as a markdown artifact.

        Args:
            why: the error, in one line.
        """
        newest = newest_attempt(self._attempts)
        if newest is None or newest == self._before:
            return
        key = artifact_key(self._run.name, f"{self._stage}-logs")
        kept = KeptArtifact("markdown", key, taken_over=True)
        # Read in there too: a log that cannot be read must not take the error's place.
        tried(
            lambda: kept.show(
                _page(why, rank_logs(newest)), f"Last lines of {self._stage} of {self._run.name}"
            )
        )


def _page(why: str, logs: list[RankLog]) -> str:
    parts = [in_markdown(why)]
    for number, log in enumerate(logs):
        parts.append(f"**{in_markdown(log.whose)}**: {in_markdown(str(log.path))}")
        if number < _MOST_LOGS:
            lines = log.last_lines(_LINES)
            parts.append(code_block(lines) if lines else "It is empty.")
    return "\n\n".join(parts) + "\n"
