# SPDX-License-Identifier: Apache-2.0
"""A session of p4runtime-shell, run by the interpreter of its environment: ADDRESS P4INFO JSON.

Each thing that it sees is one line of JSON on the standard output.
"""

import json
import os
import sys
import threading
import traceback

import p4runtime_sh.shell as sh
from p4runtime_sh.p4runtime import P4RuntimeWriteException

DST = "02:00:00:00:00:01"


def say(what, value):
    print(json.dumps([what, value]), flush=True)


def main():
    address, p4info, program = sys.argv[1:]
    sh.setup(
        device_id=1,
        grpc_addr=address,
        election_id=(0, 1),
        config=sh.FwdPipeConfig(p4info, program),
        verbose=False,
    )
    say("tables", sorted(table.name for table in sh.P4Objects(sh.P4Type.table)))

    entry = sh.TableEntry("L2Ingress.l2")(action="L2Ingress.forward")
    entry.match["hdr.ethernet.dst"] = DST
    entry.action["port"] = "2"
    entry.insert()
    try:
        entry.insert()
    except P4RuntimeWriteException as error:
        say("inserted twice", [item[1].canonical_code for item in error.errors])
    found = []
    sh.TableEntry("L2Ingress.l2").read(lambda one: found.append(str(one.action["port"])))
    say("read", found)

    group = sh.MulticastGroupEntry(5)
    group.add(1, 1).add(2, 2)
    group.insert()
    back = []
    sh.MulticastGroupEntry(5).read(lambda one: back.extend(one.replicas))
    say("group", [[replica.egress_port, replica.instance] for replica in back])

    default = sh.TableEntry("L2Ingress.l2")(action="L2Ingress.punt", is_default=True)
    default.action["reason"] = "6"
    default.modify()

    packets = sh.PacketIn()
    got = threading.Event()
    say("listening", None)
    while not got.is_set():
        for message in packets.sniff(timeout=0.1):
            metadata = {m.metadata_id: m.value.hex() for m in message.packet.metadata}
            say("packet-in", [message.packet.payload.hex(), metadata])
            got.set()

    out = sh.PacketOut(bytes(range(60)))
    out.metadata["egress_port"] = "3"
    out.metadata["_pad"] = "0"
    out.send()

    say("ready for traffic", None)
    sys.stdin.readline()
    counters = []
    sh.DirectCounterEntry("L2Ingress.hits").read(lambda one: counters.append(one.packet_count))
    say("counted", counters)
    entry.delete()
    left = []
    sh.TableEntry("L2Ingress.l2").read(left.append)
    say("left", len(left))
    sh.teardown()
    say("end", None)


try:
    main()
except BaseException:
    traceback.print_exc()
    os._exit(1)  # the shell's threads would keep the process
