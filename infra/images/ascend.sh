#!/bin/bash
# Becomes the command that it is given, in the environment of CANN: what a container for Ascend begins with.
set -eu

for script in "${ASCEND_TOOLKIT_HOME:-/usr/local/Ascend/ascend-toolkit}/set_env.sh" \
    /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/cann/set_env.sh; do
    if [ -f "$script" ]; then
        # It reads variables that may not be set.
        set +u
        # shellcheck disable=SC1090
        . "$script"
        set -u
        break
    fi
done
exec "$@"
