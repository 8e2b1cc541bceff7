# SPDX-License-Identifier: Apache-2.0
"""Pushing a program, or keeping the one that runs."""

from pathlib import Path

import pytest
from p4ct.p4runtime.client import P4RuntimeClient, pipeline_cookie
from p4ct.p4runtime.errors import PipelineRejected, TargetError
from p4ct.p4runtime.p4info import load_p4info

from .fake_target import fake_target, run

P4INFO = load_p4info(Path(__file__).parents[3] / "p4src/compiled/eswitch.p4info.txtpb")


def test_pushed_only_if_the_cookie_differs():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address)
            await client.connect()
            assert await client.get_cookie() is None
            assert await client.get_p4info() is None
            assert await client.ensure_pipeline(P4INFO, b"{}", 42) == "pushed"
            assert target.config.p4_device_config == b"{}"
            assert await client.get_cookie() == 42
            assert await client.get_p4info() == P4INFO
            assert await client.ensure_pipeline(P4INFO, b"{}", 42) == "kept"
            assert target.pushes == 1
            assert await client.ensure_pipeline(P4INFO, b"{1}", 43) == "pushed"
            assert client.p4info is not None
            await client.close()

    run(main())


def test_cookie_names_program_and_configuration():
    other = type(P4INFO)()
    other.CopyFrom(P4INFO)
    other.pkg_info.version = "1.0.1"
    cookies = {
        pipeline_cookie(P4INFO, b"a"),
        pipeline_cookie(P4INFO, b"b"),
        pipeline_cookie(other, b"a"),
    }
    assert len(cookies) == 3
    assert all(0 < cookie < 1 << 64 for cookie in cookies)
    assert pipeline_cookie(P4INFO, b"a") in cookies


def test_rejected_with_the_targets_words():
    async def main():
        async with fake_target() as (target, address):
            target.reject_pipeline = "extern Frobnicate is not supported (line 12)"
            client = P4RuntimeClient(address)
            await client.connect()
            with pytest.raises(PipelineRejected) as error:
                await client.ensure_pipeline(P4INFO, b"{}", 1)
            text = str(error.value)
            assert "eswitch was not accepted" in text
            assert "extern Frobnicate is not supported (line 12)" in text
            assert address in text
            await client.close()

    run(main())


def test_target_gone():
    async def main():
        async with fake_target() as (target, address):
            client = P4RuntimeClient(address)
            await client.connect()
            await target.stop()
            with pytest.raises(TargetError) as error:
                await client.ensure_pipeline(P4INFO, b"{}", 1)
            assert error.value.code == "UNAVAILABLE"
            await client.close()

    run(main())
