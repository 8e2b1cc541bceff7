#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# p4runtime-shell on a running target, in an environment of its own (.venv-shell), because its pins
# clash with any current protobuf.  Made on first use.
#
#   tools/shell.sh [ADDRESS]     default 127.0.0.1:9559
#
# The target of `make cli` is in a private network namespace: there, type `sh make shell` at the
# prompt.  That namespace has no way out, so the installation has to happen outside it, before:
# `make shell` installs first and looks for the target then.  Do not use the shell for batches: its error iterator does not end on a mixed batch.

set -eu
cd "$(dirname "$0")/.."
address="${1:-127.0.0.1:9559}"

tools/environment.sh shell .venv-shell
.venv-shell/bin/python - "$address" <<'END' || exit 1
import socket, sys
host, _, port = sys.argv[1].rpartition(":")
try:
    socket.create_connection((host, int(port)), timeout=3).close()
except (OSError, ValueError) as error:
    sys.exit(f"error: no P4Runtime target at {sys.argv[1]}: {error}\n"
             "       start one, or in the topology: make cli, and there: sh make shell")
END
# Without the id of a higher bidder the shell becomes a backup controller: it reads, p4ct writes.
exec .venv-shell/bin/python -m p4runtime_sh --grpc-addr "$address" --device-id 0 --election-id 0,0
