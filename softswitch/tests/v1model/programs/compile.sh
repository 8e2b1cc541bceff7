#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles the test programs with the p4c on the PATH: `compile.sh [NAME…]`; all without a name.
# Runs here, with relative paths, so that the output names no path of the machine it was made on.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- *.p4
for name; do
    name=${name%.p4}
    p4c-bm2-ss --std p4-16 --arch v1model --p4runtime-files "$name.p4info.txtpb" \
        -o "$name.json" "$name.p4"
done
# p4c --version succeeds with another status.
{ p4c-bm2-ss --version 2>&1 || true; } | grep Version >p4c-version
