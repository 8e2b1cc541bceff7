# SPDX-License-Identifier: Apache-2.0
"""A controller written with finsy, run by the interpreter of its environment: ADDRESS P4INFO JSON.

Each thing that it sees is one line of JSON on the standard output.
"""

import asyncio
import contextlib
import json
import os
import sys
import traceback
from pathlib import Path

import finsy as fy

DST = 0x020000000001


def say(what, value):
    print(json.dumps([what, value]), flush=True)


def l2(*, dst=None, **action):
    match = fy.Match({"hdr.ethernet.dst": dst}) if dst is not None else None
    return fy.P4TableEntry("l2", match=match, **action)


async def ready(switch):
    try:
        await drive(switch)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # finsy would try again


async def drive(switch):
    """Called once the switch runs the program and this is its primary."""
    say("program", sorted(table.alias for table in switch.p4info.tables))
    await switch.delete_all()
    entry = l2(dst=DST, action=fy.Action("forward", port=2), idle_timeout_ns=0)
    await switch.insert([entry, fy.P4MulticastGroupEntry(7, replicas=[(1, 4), (2, 5)])])
    try:
        await switch.insert([entry])
    except fy.P4ClientError as error:
        say("inserted twice", [int(item.canonical_code) for item in error.details.values()])
    await switch.modify([l2(is_default_action=True, action=fy.Action("punt", reason=6))])
    found = [one async for one in switch.read(fy.P4TableEntry("l2"))]
    say("read", [[one.action.args["port"], *one.match.values()] for one in found])
    groups = [one async for one in switch.read(fy.P4MulticastGroupEntry(7))]
    say("group", [[r.port, r.instance] for one in groups for r in one.replicas])
    register = fy.P4RegisterEntry("last_type", index=3)
    say("register", [one.data async for one in switch.read(register)])
    switch.create_task(packets(switch))
    await switch.write([fy.P4PacketOut(bytes(range(60)), egress_port=3, _pad=0)])


async def packets(switch):
    packet_ins = switch.read_packets()
    say("listening", None)
    async for packet in packet_ins:
        say("packet-in", [packet.payload.hex(), packet["ingress_port"], packet["reason"]])
        counter = fy.P4DirectCounterEntry("hits")
        say("counted", [one.packet_count async for one in switch.read(counter)])
        await switch.delete_all()
        say("left", len([one async for one in switch.read(fy.P4TableEntry("l2"))]))
        say("end", None)


async def main():
    address, p4info, program = sys.argv[1:]
    options = fy.SwitchOptions(
        p4info=Path(p4info), p4blob=Path(program), device_id=1, ready_handler=ready
    )
    controller = fy.Controller([fy.Switch("s1", address, options)])
    running = asyncio.ensure_future(controller.run())
    told = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
    controller.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await running


asyncio.run(main())
