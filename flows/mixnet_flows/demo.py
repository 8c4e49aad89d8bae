"""`python -m mixnet_flows.demo`: the whole chain on scikit-learn's digits, nothing to start first.

A first, tiny run leaves the release `digits-seed`; the second starts from it, trains on two ranks
and leaves the release `digits-demo`. Started again, both skip what is done.
"""

from __future__ import annotations

import argparse
import sys

from mixnet_core.errors import MixnetError
from mixnet_core.runs.records import recorded
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.terminal import TerminalWatch
from mixnet_core.runs.values import Validation
from mixnet_core.stages.check import check_all, require
from mixnet_core.stages.options import adjusted_recipe, open_workspace, registry_uri
from mixnet_core.storage.uris import refuse_arguments
from mixnet_flows.temporary_server import start_temporary_server

RECIPE = "digits"
SEED = "digits-seed"
RUN = "digits-demo"
SEED_EPOCHS = 2
RANKS = 2


def demo(workspace: Workspace) -> str:
    """Runs both flows; the line to end with.

    Raises:
        MixnetError: what the failing stage raised.
    """
    # Without the weights that the second run starts from: the first one makes them.
    recipe = adjusted_recipe(RECIPE, ranks=RANKS)
    require(check_all(recipe, workspace=workspace, registry=registry_uri(workspace, None)))
    place = str(workspace.root)
    with TerminalWatch() as watch:
        watch.line("demo", "starting a Prefect server for this run")
        start_temporary_server(workspace.root / "prefect")
        # Only now: Prefect reads its settings while it is imported.
        from mixnet_flows.mixnet import mixnet
        from mixnet_flows.showing import in_terminal

        with in_terminal(watch):
            watch.line("demo", f"first {SEED}, a tiny release to start from")
            mixnet(RECIPE, run=SEED, workspace=place, epochs=SEED_EPOCHS, ranks=1)
            watch.line("demo", f"now {RUN}, which starts from it, on {RANKS} ranks")
            release = mixnet(RECIPE, run=RUN, workspace=place, weights=SEED, ranks=RANKS)
    validation = recorded(workspace.run(RUN), "validate", Validation)
    return (
        f"val top-1 {100 * validation.score.top1:.2f} %; release {release.uri}; "
        f"report {validation.report_page}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mixnet_flows.demo", description=__doc__)
    parser.add_argument(
        "--workspace", help="folder for data, runs and releases; default $MIXNET_HOME or workspace"
    )
    try:
        refuse_arguments(sys.argv[1:])
        options = parser.parse_args()
        line = demo(open_workspace(options.workspace))
    except MixnetError as error:
        sys.stderr.write(f"demo: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; the same command goes on where it stopped\n")
        return 130
    sys.stdout.write(f"demo: {line}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
