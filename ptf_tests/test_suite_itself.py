# SPDX-License-Identifier: Apache-2.0
"""The suite's own tools: what they say when something is missing, and that they clean up."""

import os
import stat
import unittest
from pathlib import Path
from unittest import mock

from ptf_base.each import each
from ptf_base.entities import table_entry
from ptf_base.ledger import Ledger, Row
from ptf_base.netns import Namespace, NamespaceError
from ptf_base.p4info import P4Names, UnknownName, encode
from ptf_base.switch import COMPILED, PROGRAM
from ptf_base.target import Target, TargetError, not_found
from ptf_base.window import Pair, Registers, Segment, before, in_window


class SuiteTest(unittest.TestCase):
    """Needs no switch."""

    def said(self, error, call, *args, **kwargs):
        """The text of the error that a call must raise."""
        try:
            call(*args, **kwargs)
        except error as raised:
            return str(raised)
        raise AssertionError(f"{call} did not raise {error.__name__}")

    def names(self):
        return P4Names.load(COMPILED / f"{PROGRAM}.p4info.txtpb")

    def program(self, text):
        """An executable shell script, removed afterwards."""
        path = Path(f"/tmp/ptf-suite-{os.getpid()}")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.addCleanup(path.unlink)
        return str(path)


class NearestName(SuiteTest):
    """A wrong name of any kind is answered with the nearest right one."""

    def runTest(self):
        names = self.names()
        for call, wrong, right in (
            (names.table, "ctv4", "ct_v4"),
            (names.action, "nh_rout", "nh_route"),
            (names.counter, "ct_counters", "ct_counter"),
            (names.meter, "meter_punt", "punt_meter"),
        ):
            assert f"did you mean {right!r}?" in self.said(UnknownName, call, wrong)
        said = self.said(UnknownName, names.enum_value, "PuntReason", "TCP_SIN")
        assert "did you mean 'TCP_SYN'?" in said
        said = self.said(UnknownName, table_entry, names, "ct_v4", {"srcc": 1})
        assert "key of ct_v4 'srcc'; did you mean 'src'?" in said


class Encoding(SuiteTest):
    """Values become the shortest bytes, and must fit."""

    def runTest(self):
        for value, width, expected in (
            (0, 9, b"\0"),
            (256, 9, b"\1\0"),
            ("10.0.0.1", 32, b"\x0a\0\0\1"),
            ("::1", 128, b"\1"),
            ("02:00:00:00:00:01", 48, b"\2\0\0\0\0\1"),
        ):
            assert encode(value, width) == expected, value
        assert "512 does not fit in 9 bits" in self.said(ValueError, encode, 512, 9)
        self.said(ValueError, encode, -1, 9)


class CoverageNamesWhatIsMissing(SuiteTest):
    """A point counts once a case that showed it has passed; the rest is named as missing."""

    def runTest(self):
        names, ledger = self.names(), Ledger()
        assert ledger.missing(names) == ledger.wanted(names)
        output = {"port": 1, "vlan_op": "POP"}
        ledger.start_case()
        ledger.wrote("a", Row("next_hop", "nh_output", output, {"next_hop": 9}))
        ledger.wrote("b", Row("next_hop", "nh_route", {**output, "port": 2}, {"next_hop": 8}))
        ledger.wrote("c", Row("flow", "flow_forward", {"next_hop": 9}, {}))
        ledger.left(1)
        ledger.dropped("NEXT_HOP")
        shown = {
            *(("next_hop", "nh_output"), ("next_hop", "nh_drop"), ("flow", "flow_forward")),
            *(("VLAN operation", "POP"), ("drop reason", "NEXT_HOP")),
            *(("trap", "miss"), ("vport", "set_vport")),
        }
        assert not set(ledger.points), "the case has not passed yet"
        ledger.case_passed()
        assert set(ledger.points) == shown
        assert shown.isdisjoint(ledger.missing(names))
        assert set(ledger.missing(names)) | shown == set(ledger.wanted(names))
        assert "nh_route NOT COVERED" in ledger.report(names)
        ledger.start_case()
        ledger.left(1)
        ledger.case_passed()
        assert set(ledger.points) == shown


class WindowModel(SuiteTest):
    """The reference model, at values worked out by hand."""

    def runTest(self):
        client, server = Registers(100, 300, 50, 900, 0), Registers(900, 950, 200, 100, 3)
        pair = Pair(client, server)
        # 10 bytes up to 110; 900 + 60 is offered, which is more than 50 and ends at 960.
        verdict, after = in_window(pair, 0, Segment(100, 900, 60, 10))
        assert verdict == "INSIDE"
        assert after.original == Registers(110, 300, 60, 900, 0)
        assert after.reply == Registers(900, 960, 200, 100, 3)
        # The server's window is scaled by 8; a closed one still allows a probe of one byte.
        assert in_window(pair, 1, Segment(900, 100, 30, 0))[1].original.max_end == 340
        assert in_window(pair, 1, Segment(900, 300, 0, 0))[0] == "ACK_ABOVE"
        wide = Pair(Registers(300, 300, 50, 900, 0), server)
        assert in_window(wide, 1, Segment(900, 300, 0, 0))[1].original.max_end == 301
        # 20 bytes beyond what was offered widen what the receiver is taken to offer.
        assert in_window(pair, 0, Segment(300, 900, 0, 20))[1].reply.max_win == 220
        assert in_window(pair, 0, Segment(301, 900, 0, 0)) == ("SEQ_ABOVE", pair)
        assert before(0xFFFFFFFF, 3)
        assert not before(3, 0xFFFFFFFF)


class TargetThatEnds(SuiteTest):
    """A target that does not come up is reported with command, exit code and last words."""

    def runTest(self):
        program = self.program("echo no such luck >&2; exit 3")
        said = self.said(TargetError, Target, "bmv2", program)
        assert "bmv2 did not start" in said
        assert f"{program} -i 0@" in said
        assert "exit code 3" in said
        assert "no such luck" in said


class TargetThatIsMissing(SuiteTest):
    """A target that is not there: its program's name, and what to do."""

    def runTest(self):
        said = not_found("bmv2")
        assert "no simple_switch_grpc on the PATH" in said
        assert "install BMv2" in said


class NamespaceIsPrivate(SuiteTest):
    """Its links are seen by its own processes and by no others, and a failing command says why."""

    def runTest(self):
        namespace = Namespace()
        self.addCleanup(namespace.close)
        namespace.add_veth("ptfleft", "ptfright")
        inside = namespace.run(Path("/proc/thread-self/net/dev").read_text)
        outside = Path("/proc/thread-self/net/dev").read_text()
        assert "ptfleft" in inside
        assert "ptfleft" not in outside
        said = self.said(NamespaceError, namespace.command, "ip", "link", "set", "nowhere", "up")
        assert "nowhere" in said
        said = self.said(NamespaceError, namespace.command, "no-such-program")
        assert "no-such-program is not installed" in said


class NothingIsLeft(SuiteTest):
    """A target that does not listen in time leaves no process."""

    def runTest(self):
        program = self.program("echo $$; exec sleep 1000")
        with mock.patch("ptf_base.target.START_TIMEOUT", 0.3):
            said = self.said(TargetError, Target, "bmv2", program)
        assert "does not listen on 127.0.0.1:9559" in said
        pid = int(said.split()[-1])
        self.said(ProcessLookupError, os.kill, pid, 0)


class EachCombination(SuiteTest):
    """`each` makes one class per combination, and takes the case's own runTest away."""

    def runTest(self):
        class Some:
            def runTest(self):
                return self.one, self.two

        assert not hasattr(each(one=("a", "b-c"), two=(4, 6))(Some), "runTest")
        made = {name: value for name, value in globals().items() if name.startswith("Some_")}
        try:
            assert sorted(made) == ["Some_a_4", "Some_a_6", "Some_b_c_4", "Some_b_c_6"]
            assert made["Some_b_c_6"]().runTest() == ("b-c", 6)
        finally:
            for name in made:
                del globals()[name]
