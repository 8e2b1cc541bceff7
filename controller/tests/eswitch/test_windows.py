# SPDX-License-Identifier: Apache-2.0
"""Window registers by packet-out, against an in-process P4Runtime server."""

import asyncio

from p4ct.eswitch.entries import PuntInfo, WindowPair, WindowSide
from p4ct.eswitch.enums import PacketOutOp, PuntReason, Step

from ..p4runtime.fake_target import run
from .samples import P4INFO
from .test_driver import eswitch

WINDOWS = WindowPair(WindowSide(1, 2, 3, 4, 14), WindowSide(0xFFFFFFFF, 6, 7, 8, 0))


def packed(side: WindowSide) -> int:
    return side.end << 96 | side.max_end << 64 | side.max_win << 32 | side.max_ack


def test_windows_are_written_and_read_back():
    """A target that carries out writes, except those of index 9, and answers reads except of 8."""
    registers: dict[int, tuple[int, int, int]] = {}

    async def serve(target, driver) -> None:
        fields = {field.id: field.name for field in P4INFO.headers.get("packet_out").fields}
        while True:
            packet = await target.packet_outs.get()
            header = {
                fields[m.metadata_id]: int.from_bytes(m.value, "big") for m in packet.metadata
            }
            index = header["conn_index"]
            if header["op"] == PacketOutOp.WINDOW_MERGE:
                assert index == 7
                registers[index] = (3, 2, 1)
            elif header["op"] == PacketOutOp.WINDOW_WRITE:
                payload = packet.payload
                assert len(payload) == 34
                one, two = (int.from_bytes(payload[i : i + 16], "big") for i in (0, 17))
                if index != 9:
                    registers[index] = (one, two, payload[16] << 8 | payload[33])
            elif index != 8:
                assert header["op"] == PacketOutOp.WINDOW_READ
                one, two, scales = registers.get(index, (0, 0, 0))
                info = PuntInfo(
                    0, 0, PuntReason.WINDOW_READ, 0, 0, 0, index, 0, 0, 0, 0, one, two, scales, 0
                )
                late = info._replace(window_original=1)
                assert driver.take_answer(b"", late)  # no token: the answer to another question
                assert driver.take_answer(packet.payload, info)
                assert driver.take_answer(packet.payload, late)  # the first answer counts

    async def main():
        async with eswitch() as (target, driver):
            server = asyncio.create_task(serve(target, driver))
            wanted = {7: WINDOWS, 8: WINDOWS, 9: WINDOWS}
            assert await driver.write_windows(wanted) == {7}
            assert registers[7] == (packed(WINDOWS.original), packed(WINDOWS.reply), 0x0E00)
            assert await driver.read_windows([7, 8, 10]) == {7: WINDOWS, 10: WindowPair()}
            assert driver.merge_windows(7, WINDOWS)
            (found,) = (await driver.read_windows([7])).values()
            assert (found.original.max_ack, found.reply.max_ack, found.reply.scale) == (3, 2, 1)
            server.cancel()
            punt = PuntInfo(3, 1, PuntReason.WINDOW, Step.WINDOW, 1, 0, 7, 0, 0, 0, 60)
            assert not driver.take_answer(b"", punt)

    run(main())
