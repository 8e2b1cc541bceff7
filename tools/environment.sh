#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A Python environment of its own for a tool whose pins clash with ours: made once, and again when
# its requirements have changed.
#
#   tools/environment.sh NAME FOLDER      from tools/requirements-NAME.txt

set -eu
cd "$(dirname "$0")/.."
name=$1
folder=$2
python="${P4CT_SYSTEM_PYTHON:-/usr/bin/python3}"
requirements=tools/requirements-$name.txt

cmp -s "$requirements" "$folder/installed.txt" && exit 0
echo "[1/1] $name in $folder"
mkdir -p build/logs
rm -rf "$folder"
if ! { "$python" -m venv "$folder" &&
       "$folder/bin/python" -m pip --disable-pip-version-check install --quiet --no-input \
           --require-hashes -r "$requirements"; } >"build/logs/$name.log" 2>&1; then
    tail -n 15 "build/logs/$name.log" >&2
    echo "error: $folder cannot be made from $requirements; the whole output is in build/logs/$name.log" >&2
    echo "       inside make cli there is no network: run this once outside it" >&2
    exit 1
fi
cp "$requirements" "$folder/installed.txt"
