#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Draws the packet rates of bench/results (or of the folder given) as packet_rate.png beside the JSON.
# matplotlib lives in an environment of its own below build/: nothing else of the project needs it.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
environment=$root/build/bench/plot
if [ ! -e "$environment/complete" ]; then
    "$root/.venv/bin/python" -m venv "$environment"
    "$environment/bin/pip" install --quiet --require-hashes -r "$root/bench/requirements-plot.txt"
    touch "$environment/complete"
fi
exec "$environment/bin/python" "$root/bench/plot.py" "${1:-$root/bench/results}"
