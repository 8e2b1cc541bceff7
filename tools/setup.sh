#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Set up everything that the make verbs need, once: Debian packages (when root), the virtual
# environment in .venv, the pinned Python packages, the P4Runtime stubs, our own packages.
#
#   tools/setup.sh             set up what is missing or out of date; silent when nothing is
#   tools/setup.sh --commands  only check that the commands are there (no venv)
#
# Everything it writes is below .venv and build/.  The stamp build/setup.stamp holds a hash of the
# inputs, so a changed requirement or a moved checkout is noticed, and an interrupted run repeated.
# It is POSIX sh because a bare Debian 12 has no Python yet.
#
# P4CT_SYSTEM_PYTHON names another interpreter (3.11 or newer) than /usr/bin/python3.

set -eu

cd "$(dirname "$0")/.."
mode="${1:-}"
python="${P4CT_SYSTEM_PYTHON:-/usr/bin/python3}"
logs=build/logs
stamp=build/setup.stamp
inputs="requirements.txt requirements-no-deps.txt stubs/generate.py tools/setup.sh
        stubs/pyproject.toml controller/pyproject.toml softswitch/pyproject.toml"

# Descriptor 3 is the terminal even while the output of a step goes to its log.
exec 3>&2
trap 'echo "interrupted during set-up; run the same command again to continue" >&3; exit 130' INT
trap 'exit 143' TERM

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

# step NUMBER TEXT LOG COMMAND...: run the command into the log; show its end if it fails.
step() {
    number=$1 text=$2 log=$logs/$3
    shift 3
    printf '[%s/4] %s\n' "$number" "$text"
    if ! "$@" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "$text failed: $*" "the whole output is in $log; after fixing the cause run the same command again"
    fi
}

# --- 1. Debian packages ---------------------------------------------------------------------
# "package test": the test succeeds when the package is not needed any more.  Commands are tested
# rather than package names, so that a compiler or an iperf3 from elsewhere is as good.
missing_packages() {
    has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
    has "$python" || echo python3
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || echo python3-venv
    has cc || has gcc || echo gcc
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    { has mnexec && "$python" -c 'import sys; sys.path.append("/usr/lib/python3/dist-packages"); import mininet' \
        >/dev/null 2>&1; } || echo mininet
    has ifconfig || echo net-tools
    has ip || echo iproute2
    has ethtool || echo ethtool
    has iperf3 || echo iperf3
    # Only the comparison with the kernel's conntrack uses it: no reason to refuse a user.
    has nft || [ "$(id -u)" != 0 ] || echo nftables
    has ping || echo iputils-ping
    has ps || echo procps
    has unshare || echo util-linux
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --no-install-recommends "$@" && return
    # The package lists may be missing (a fresh image) or too old to be served any more.
    apt-get update && apt-get install --yes --no-install-recommends "$@"
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    set -- $packages
    command -v apt-get >/dev/null 2>&1 ||
        fail "missing on this system, and there is no apt-get to install it with: $*" \
            "these are Debian's package names; install what provides them"
    [ "$(id -u)" = 0 ] ||
        fail "missing Debian packages: $*" \
            "only an administrator can install them; ask for, or run:" \
            "    sudo apt-get install --no-install-recommends $*" \
            "then run the same command again (it needs no further root rights)"
    mkdir -p "$logs"
    step 1 "Debian packages: $*" apt.log install_packages "$@"
fi
[ "$mode" != --commands ] || exit 0

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" --version 2>&1); 3.11 or newer is needed" \
        "install one and name it: P4CT_SYSTEM_PYTHON=/path/to/python3 make setup"

# --- 2 to 4. Python -------------------------------------------------------------------------
mkdir -p "$logs" 2>/dev/null && [ -w build ] && [ -w "$logs" ] && { [ ! -e "$stamp" ] || [ -w "$stamp" ]; } ||
    fail "cannot write to $(pwd)/build" \
        "it belongs to $(stat -c %U build 2>/dev/null || stat -c %U .); use your own checkout, or change the owner"

# shellcheck disable=SC2086 # a list of words
wanted="$(pwd) $("$python" --version 2>&1) $(cat $inputs | sha256sum)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x .venv/bin/python ]; then
    exit 0
fi
rm -f "$stamp"

[ -n "$packages" ] || echo "[1/4] Debian packages: nothing missing"
# A copied or moved environment has scripts that name the old place; one that an interrupted run
# left has no pip.  Both are made again.
if ! { .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' &&
       .venv/bin/python -m pip --version &&
       grep -q "$(pwd)/.venv" .venv/bin/activate; } >/dev/null 2>&1; then
    rm -rf .venv
    step 2 "virtual environment .venv" venv.log "$python" -m venv .venv
else
    echo "[2/4] virtual environment .venv: present"
fi

install_python_packages() {
    pip=".venv/bin/python -m pip --disable-pip-version-check install --quiet --no-input"
    $pip --require-hashes -r requirements.txt &&
        $pip --no-deps --require-hashes -r requirements-no-deps.txt
}
step 3 "Python packages (pinned, with hashes)" pip.log install_python_packages

install_own_packages() {
    .venv/bin/python stubs/generate.py &&
        .venv/bin/python -m pip --disable-pip-version-check install --quiet --no-input \
            --no-deps --no-build-isolation -e stubs -e controller -e softswitch
}
step 4 "P4Runtime stubs, p4ct, softswitch" install.log install_own_packages

printf '%s\n' "$wanted" >"$stamp"
