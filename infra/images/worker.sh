#!/bin/bash
# A worker of Prefect's and its watch in one container: the watch looks at the worker's processes, so
# it has to see them. When either ends the container ends, and is started again by what started it.
#
# Asked to end (SIGTERM), it has the runs save first: Prefect's worker would kill them.
# MIXNET_SAVE_SECONDS (35) is more than devices.grace_seconds and 10; whoever asks must wait longer.
set -eu

stop_file="${MIXNET_STOP_FILE:-/tmp/mixnet-worker/stop}"
export MIXNET_STOP_FILE="$stop_file"
mkdir -p "$(dirname "$stop_file")"
# Left by the last stop, it would end the first run.
rm -f "$stop_file"

# A container with an address that other hosts reach, as on its host's network, is one of several.
if [ -n "${MIXNET_ADDRESS:-}" ]; then
    python -m mixnet_flows.infra.worker &
else
    python -m mixnet_flows.infra.worker --alone &
fi
worker=$!
python -m mixnet_flows.infra.watch &
watch=$!

# shellcheck disable=SC2329
stop() {
    trap '' TERM INT
    # First the watch: what saves and ends now is not to go on at once.
    kill -TERM "$watch" 2>/dev/null || true
    python -m mixnet_flows.infra.saving "$stop_file" --seconds "${MIXNET_SAVE_SECONDS:-35}" || true
    kill -TERM "$worker" 2>/dev/null || true
    wait || true
    exit 0
}
trap stop TERM INT

code=0
wait -n "$worker" "$watch" || code=$?
kill -TERM "$worker" "$watch" 2>/dev/null || true
wait || true
exit "$code"
