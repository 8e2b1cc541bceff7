#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Turn requirements*.in into requirements*.txt: exact versions with hashes, and no addresses of
# where they were found.  pip-tools lives in an environment of its own under build/.

set -eu
cd "$(dirname "$0")/.."
environment=build/lock
[ -x $environment/bin/pip-compile ] || {
    .venv/bin/python -m venv $environment
    $environment/bin/python -m pip --disable-pip-version-check install --quiet pip-tools
}
lock() {
    echo "$1 -> $2"
    shift_options="--quiet --generate-hashes --no-header --strip-extras --allow-unsafe
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host"
    # shellcheck disable=SC2086 # a list of words
    $environment/bin/pip-compile $shift_options --output-file "$2" "$1"
}
lock requirements.in requirements.txt
lock tools/requirements-shell.in tools/requirements-shell.txt
lock tools/requirements-finsy.in tools/requirements-finsy.txt
lock bench/requirements-plot.in bench/requirements-plot.txt
echo "requirements-no-deps.txt is kept by hand: pip download --no-deps ptf, then pip hash"
