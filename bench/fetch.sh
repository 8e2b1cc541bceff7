#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches what the forwarding benchmarks compare with and Debian has: Open vSwitch and nft. The
# packages are unpacked below build/bench/others and not installed: no service starts, nothing of
# the system changes, and `rm -r build` takes it away.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
others=$root/build/bench/others
packages='openvswitch-switch openvswitch-common nftables libnftables1 libnftnl11 libxtables12 libmnl0
 libunbound8 libevent-2.1-7 libnuma1 libcap-ng0 libjansson4 libxdp1 libbpf1 libedit2 libbsd0 libmd0'
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo 'error: this needs apt-get and dpkg-deb (Debian); elsewhere install openvswitch and nftables' >&2
    exit 1
fi
mkdir -p "$others/packages" "$others/root"
cd "$others/packages"
# shellcheck disable=SC2086 # a list of words
apt-get download $packages
for package in ./*.deb; do
    dpkg-deb -x "$package" "$others/root"
done
touch "$others/complete"
echo "Open vSwitch and nft are below $others"
