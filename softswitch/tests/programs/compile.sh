#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compile the programs here again, with the p4c on the PATH; the results are committed, so that the
# tests need no p4c.
set -eu
cd "$(dirname "$0")"
for source in *.p4; do
    name="${source%.p4}"
    p4c --target bmv2 --arch v1model --std p4-16 -o compiled --p4runtime-files "compiled/$name.p4info.txtpb" "$source"
    rm -f "compiled/$name.p4i"
done
