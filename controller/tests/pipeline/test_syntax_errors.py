# SPDX-License-Identifier: Apache-2.0
"""Every error of the flow language: its line, column, token, message and hint."""

from __future__ import annotations

import pytest
from p4ct.pipeline import FlowSyntaxError, parse_flows, parse_selector
from p4ct.pipeline.vocabulary import (
    UNSUPPORTED_ACTIONS,
    UNSUPPORTED_MATCHES,
    UNSUPPORTED_OPTIONS,
)

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}

# text, token at fault, part of the message, part of the hint; the column is that of the first `^`
CASES = [
    ("^tpc_dst=80,tcp,actions=drop", "tpc_dst", "unknown match field 'tpc_dst'", "'tp_dst'?"),
    ("^qqq=1,actions=drop", "qqq", "unknown match field", "valid names: action"),
    ("^=5,actions=drop", "=5", "unknown match field '=5'", "valid names"),
    ("table=^255,actions=drop", "255", "out of range: table must be a number from 0 to 254", ""),
    ("table=^x,actions=drop", "x", "'x' is not valid: table must be", ""),
    ("^table,actions=drop", "table", "table needs a value", "table=NUMBER"),
    ("priority=^65536,actions=drop", "65536", "from 0 to 65535", ""),
    ("priority=^010,actions=drop", "010", "is not valid", "leading zero"),
    ("cookie=^0x1ffffffffffffffff,actions=drop", "0x1ffffffffffffffff", "out of range", ""),
    ("^cookie=1/1,actions=drop", "cookie=1/1", "takes no mask", "remove the mask"),
    ("cookie=1/^x,actions=drop", "x", "mask must be a number", ""),
    ("table=1,^table=2,actions=drop", "table=2", "contradicts 'table=1' at column 1", "leave one"),
    ("in_port=^vm9,actions=drop", "vm9", "no vport named 'vm9'", "vm1 (1), vm2 (2), ext (3)"),
    ("in_port=^9,actions=drop", "9", "there is no vport 9", "known vports: vm1 (1)"),
    ("in_port=^LOCAL,actions=drop", "LOCAL", "no vport named", "known vports"),
    ("^in_port,actions=drop", "in_port", "in_port needs a value", "in_port="),
    ("^tcp=1,actions=drop", "tcp=1", "tcp takes no value", "write tcp"),
    ("tcp,^udp,actions=drop", "udp", "'udp' contradicts 'tcp' at column 1", "leave one"),
    ("ip,^arp,actions=drop", "arp", "'arp' contradicts 'ip'", "leave one"),
    ("tcp,tp_dst=80,^tp_dst=81,actions=drop", "tp_dst=81", "contradicts 'tp_dst=80'", "leave"),
    ("tcp,tp_dst=80,^tcp_dst=0x50/0xf0,actions=drop", "tcp_dst=0x50/0xf0", "contradicts", ""),
    ("tcp,tp_dst=0x1000/0x1000,^tp_dst=0x1000,actions=drop", "tp_dst=0x1000", "contradicts", ""),
    ("dl_vlan=1,^vlan_vid=0x1002,actions=drop", "vlan_vid=0x1002", "contradicts", ""),
    ("dl_src=^1:2:3,actions=drop", "1:2:3", "not an Ethernet address", "00:11:22:aa:bb:cc"),
    ("dl_src=1:2:3:4:5:6/^f,actions=drop", "f", "not an Ethernet address", ""),
    ("dl_type=^0x10000,actions=drop", "0x10000", "dl_type must be a number from 0 to 65535", ""),
    ("dl_type=0x800^/1,actions=drop", "/1", "dl_type takes no mask", "one value"),
    ("dl_vlan=^4096,actions=drop", "4096", "dl_vlan must be a number from 0 to 4095", ""),
    ("dl_vlan_pcp=^8,actions=drop", "8", "from 0 to 7", ""),
    ("^vlan_pcp=1,actions=drop", "vlan_pcp=1", "vlan_pcp needs a match on vlan", "add dl_vlan"),
    ("vlan_vid=^8192,actions=drop", "8192", "from 0 to 8191", ""),
    ("ip,nw_src=^1.2.3,actions=drop", "1.2.3", "not an IPv4 address", "10.0.0.0/8"),
    ("ip,nw_src=1.2.3.4/^33,actions=drop", "33", "prefix length 33", ""),
    ("ip,nw_src=1.2.3.4/^x,actions=drop", "x", "neither a prefix length from 0 to 32", ""),
    ("ipv6,ipv6_dst=^::g,actions=drop", "::g", "not an IPv6 address", "2001:db8::/32"),
    ("ipv6,ipv6_dst=::/^129,actions=drop", "129", "from 0 to 128", ""),
    ("ip,nw_proto=^256,actions=drop", "256", "nw_proto must be a number from 0 to 255", ""),
    ("tcp,tp_dst=^65536,actions=drop", "65536", "from 0 to 65535", ""),
    ("tcp,tp_dst=^1/2,actions=drop", "1/2", "bits outside its mask", "write 0x0/2"),
    ("tcp,tp_dst=1/^0x10000,actions=drop", "0x10000", "the mask of tp_dst must be", ""),
    ("ip,nw_tos=^7,actions=drop", "7", "sets the ECN bits", "nw_tos=4,nw_ecn=3"),
    ("ip,ip_dscp=^64,actions=drop", "64", "from 0 to 63", ""),
    ("ip,nw_frag=^maybe,actions=drop", "maybe", "unknown fragment type", "valid names: first"),
    ("tcp,tcp_flags=+^sin,actions=drop", "sin", "unknown tcp_flags flag 'sin'", "did you mean"),
    ("tcp,tcp_flags=+syn^-syn,actions=drop", "-syn", "given twice", ""),
    ("ct_state=^trk-new,actions=drop", "trk-new", "unknown ct_state flag", ""),
    ("ct_state=+trk+^bogus,actions=drop", "bogus", "unknown ct_state flag", "valid names: dnat"),
    ("ct_state=^0x100/0x100,actions=drop", "0x100", "from 0 to 255", ""),
    ("ct_state=^+new+est,actions=drop", "+new+est", "can never match: new excludes", "ovs-fields"),
    ("ip,ct_state=^new,actions=drop", "new", "can never match: an untracked", "write +new;"),
    ("actions=^NORML", "NORML", "unknown action", "did you mean 'NORMAL'?"),
    ("actions=^normall", "normall", "unknown action", "did you mean 'NORMAL'?"),
    ("ct_state=^+new+rpl,actions=drop", "+new+rpl", "can never match: new excludes", ""),
    ("ct_state=^-trk+est,actions=drop", "-trk+est", "can never match: an untracked", ""),
    ("ct_state=^+inv+est,actions=drop", "+inv+est", "can never match: an invalid", ""),
    ("ct_zone=^70000,actions=drop", "70000", "from 0 to 65535", ""),
    ("ct_mark=^0x100000000,actions=drop", "0x100000000", "from 0 to 4294967295", ""),
    # prerequisites
    ("^tp_dst=80,actions=drop", "tp_dst=80", "needs a match on tcp or udp", "tcp, udp, tcp6"),
    ("ip,^tp_dst=80,actions=drop", "tp_dst=80", "needs a match on tcp or udp", ""),
    ("sctp,^tp_dst=80,actions=drop", "tp_dst=80", "needs a match on tcp or udp", "SCTP"),
    ("udp,^tcp_dst=80,actions=drop", "tcp_dst=80", "needs a match on tcp", "add tcp"),
    ("tcp,^udp_src=80,actions=drop", "udp_src=80", "needs a match on udp", "add udp"),
    ("udp,^tcp_flags=+syn,actions=drop", "tcp_flags=+syn", "needs a match on tcp", ""),
    ("^nw_src=1.2.3.4,actions=drop", "nw_src=1.2.3.4", "needs a match on ip", "add ip"),
    ("ipv6,^nw_src=1.2.3.4,actions=drop", "nw_src=1.2.3.4", "needs a match on ip", "ipv6_src"),
    ("ip,^ipv6_dst=::1,actions=drop", "ipv6_dst=::1", "needs a match on ipv6", "nw_dst"),
    ("arp,^nw_dst=1.2.3.4,actions=drop", "nw_dst=1.2.3.4", "needs a match on ip", "arp_tpa"),
    ("arp,^nw_src=1.2.3.4,actions=drop", "nw_src=1.2.3.4", "needs a match on ip", "arp_spa"),
    ("^nw_proto=6,actions=drop", "nw_proto=6", "needs a match on ip or ipv6", "add ip"),
    ("^nw_ttl=1,actions=drop", "nw_ttl=1", "needs a match on ip or ipv6", ""),
    ("^nw_tos=4,actions=drop", "nw_tos=4", "needs a match on ip or ipv6", ""),
    ("arp,^nw_frag=no,actions=drop", "nw_frag=no", "needs a match on ip or ipv6", ""),
    ("tcp,^icmp_type=8,actions=drop", "icmp_type=8", "needs a match on icmp", "add icmp"),
    ("icmp6,^icmp_type=8,actions=drop", "icmp_type=8", "needs a match on icmp", "icmpv6_type"),
    ("icmp,^icmpv6_code=0,actions=drop", "icmpv6_code=0", "needs a match on icmp6", "icmp_code"),
    ("ip,^arp_op=1,actions=drop", "arp_op=1", "needs a match on arp", "add arp"),
    ("rarp,^arp_op=3,actions=drop", "arp_op=3", "needs a match on arp", "add arp"),
    ("icmp6,^nd_target=::1,actions=drop", "nd_target=::1", "neighbour discovery", "135"),
    # actions
    ("table=1^", "", "the flow has no actions", "add actions=…"),
    ("actions=^", "", "the action list is empty", "write actions=drop"),
    ("^drop", "drop", "stands outside the action list", "after actions="),
    ("^output:1,actions=drop", "output:1", "stands outside the action list", ""),
    ("actions=^outptu:1", "outptu", "unknown action 'outptu'", "'output'?"),
    ("actions=^vm9", "vm9", "unknown action 'vm9'", "'vm2'?"),
    ("actions=^9", "9", "there is no vport 9", "known vports"),
    ("actions=output:^vm9", "vm9", "no vport named 'vm9'", "known vports"),
    ("actions=^output", "output", "output needs a port", "output:NAME"),
    ("actions=output:^CONTROLLER", "CONTROLLER", "not supported yet", "name the vports"),
    ("actions=output:^NXM_NX_REG99[]", "NXM_NX_REG99", "unknown field", "did you mean"),
    ("actions=output:reg0^[9..40]", "[9..40]", "reg0 has the bits 0 to 31", "FIELD["),
    ("actions=^output:nw_ttl[]", "output:nw_ttl[]", "needs a match on ip or ipv6", "add ip"),
    ("actions=output(^port=1,max_len=9)", "port=1,max_len=9", "max_len is not supported", ""),
    ("actions=^drop,1", "drop", "drop must be the only action", "leave it out"),
    ("actions=^drop,drop", "drop", "drop must be the only action", "leave it out"),
    ("actions=^NORMAL:1", "NORMAL:1", "NORMAL takes no value", "write NORMAL"),
    ("actions=^drop:1", "drop:1", "drop takes no value", "write drop"),
    ("actions=^(1)", "(1)", "an action name is missing", ""),
    ("actions=output^(1", "(", "'(' is never closed", "add ')'"),
    ("actions=output:1^)", ")", "')' without '('", ""),
    ("ip,actions=ct(commit)^vm1", "v", "expected a comma after ')'", "separate actions"),
    ("actions=^goto_table", "goto_table", "table number is missing", "from 0 to 254"),
    ("actions=goto_table:^300", "300", "from 0 to 254", ""),
    ("table=3,actions=^goto_table:3", "goto_table:3", "not lead to a later table", "resubmit(,3)"),
    ("actions=^goto_table:1,2", "goto_table:1", "must be the last action", "the end"),
    ("actions=^resubmit", "resubmit", "needs a port, a table or both", "resubmit(,TABLE)"),
    ("actions=resubmit(^,)", ",", "needs a port, a table or both", ""),
    ("actions=resubmit(^in_port)", "in_port", "would not end", "name a table"),
    ("actions=resubmit(,^300)", "300", "from 0 to 254", ""),
    ("actions=resubmit(^vm9,1)", "vm9", "no vport named", "known vports"),
    ("ip,actions=^resubmit(,1,ct)", "resubmit(,1,ct)", "packets of a connection", "+trk-inv"),
    ("ip,ct_state=+trk,actions=^resubmit(,1,ct)", "resubmit(,1,ct)", "of a connection", "+est"),
    ("ct_state=+est,actions=^resubmit(,1,ct)", "resubmit(,1,ct)", "of a connection", "add ip"),
    ("actions=resubmit(,1,^cd)", "cd", "unknown argument 'cd'", "resubmit(PORT,TABLE)"),
    ("actions=resubmit(,1,ct,^9)", "9", "unknown argument '9'", "resubmit(PORT,TABLE,ct)"),
    ("ip,ct_state=+est,actions=resubmit(,^300,ct)", "300", "from 0 to 254", ""),
    # ct
    ("actions=^ct", "ct", "ct needs a match on ip or ipv6", "two flows"),
    ("arp,actions=^ct(commit)", "ct(commit)", "ct needs a match on ip or ipv6", ""),
    ("ip,actions=ct:^commit", "commit", "arguments in parentheses", "ct(…)"),
    ("ip,actions=ct(^comit)", "comit", "unknown ct argument 'comit'", "'commit'?"),
    ("ip,actions=ct(^commit=1)", "commit=1", "'commit' takes no value", "write commit"),
    ("ip,actions=ct(commit,^commit)", "commit", "given twice", ""),
    ("ip,actions=ct(^zone)", "zone", "'zone' needs a value", "zone=NUMBER"),
    ("ip,actions=ct(zone=^65536)", "65536", "zone must be a number from 0 to 65535", ""),
    ("ip,actions=ct(zone=^NXM_NX_REG0[])", "NXM_NX_REG0[]", "a zone has 16 bits", "[0..15]"),
    ("ip,actions=ct(zone=^rag0[0..15])", "rag0", "unknown field 'rag0'", "'reg0'?"),
    ("ip,actions=ct(zone=reg0^[20..40])", "[20..40]", "reg0 has the bits 0 to 31", ""),
    ("ip,actions=ct(zone=^reg0[0-1])", "reg0[0-1]", "not a field or a part", "FIELD[]"),
    ("ip,actions=ct(^force,table=1)", "force", "with commit only", "add commit"),
    ("ip,actions=ct(^alg=ftp,table=1)", "alg=ftp", "with commit only", "add commit"),
    ("ip,actions=ct(commit,alg=^ftps)", "ftps", "unknown helper 'ftps'", "did you mean 'ftp'?"),
    ("ip,actions=ct(commit,^alg)", "alg", "needs a value", "write alg=ftp or alg=tftp"),
    ("ip,actions=ct(^exec(set_field:1->ct_mark))", "exec(set_field:1->ct_mark)", "with commit", ""),
    ("ip,actions=ct(commit,^exec)", "exec", "'exec' needs a value", "exec(set_field"),
    ("ip,actions=ct(commit,exec(^vm1))", "vm1", "exec() takes set_field, load", "valid names"),
    ("ip,actions=ct(commit,exec(set_field:1->^nw_src))", "nw_src", "not nw_src", "outside"),
    ("ip,actions=ct(commit,exec(set_field:^x->ct_mark))", "x", "'x' is not valid", ""),
    # nat
    ("ip,actions=ct(^nat(src=1.2.3.4))", "nat(src=1.2.3.4)", "with commit only", "nat alone"),
    ("ip,actions=ct(commit,nat(^scr=1.2.3.4))", "scr=1.2.3.4", "unknown nat argument", "'src'?"),
    ("ip,actions=ct(commit,nat(^src))", "src", "an address is missing", "ADDRESS"),
    ("ip,actions=ct(commit,nat(src=^1.2.3))", "1.2.3", "not an IP address", ""),
    ("ip,actions=ct(commit,nat(src=1.2.3.9-^1.2.3))", "1.2.3", "not an IP address", ""),
    ("ip,actions=ct(commit,nat(src=^1.2.3.9-1.2.3.4))", "1.2.3.9-1.2.3.4", "below", "swap"),
    ("ip,actions=ct(commit,nat(src=^0.0.0.0-1.2.3.4))", "0.0.0.0-1.2.3.4", "all-zero", ""),
    ("ip,actions=ct(commit,nat(src=1.2.3.4:^0))", "0", "from 1 to 65535", ""),
    ("ip,actions=ct(commit,nat(src=1.2.3.4:9-^2))", "2", "the last port must be", ""),
    ("ip,actions=ct(commit,nat(src=1.2.3.4,^dst=1.2.3.5))", "dst=1.2.3.5", "one of src", "zones"),
    ("ip,actions=ct(commit,nat(src=1.2.3.4,hash,^random))", "random", "exclude each", "leave"),
    ("ip,actions=ct(commit,nat(src=1.2.3.4,hash,^hash))", "hash", "given twice", ""),
    ("ip,actions=ct(commit,nat(src=1.2.3.4,^hash=1))", "hash=1", "takes no value", ""),
    ("ip,actions=ct(commit,nat(^random))", "random", "random needs src or dst", ""),
    ("ipv6,actions=ct(commit,nat(src=[fc00::1]^x))", "x", "expected ':' after ']'", ""),
    ("ip,actions=^ct(commit,nat(src=fc00::1))", "ct(commit,nat(src=fc00::1))", "on ipv6", "within"),
    # writes
    ("ip,actions=set_field:^1.2.3->nw_src", "1.2.3", "not an IPv4 address", ""),
    ("ip,actions=set_field:^1.2.3.4", "1.2.3.4", "needs '->' and a field", "VALUE->FIELD"),
    ("ip,actions=^set_field", "set_field", "set_field needs a value", "VALUE->FIELD"),
    ("ip,actions=set_field:1->^nw_scr", "nw_scr", "unknown field 'nw_scr'", "'nw_src'?"),
    ("ip,actions=set_field:1->^nw_proto", "nw_proto", "nw_proto cannot be written", ""),
    ("ip,actions=set_field:1->^ct_mark", "ct_mark", "belongs to the connection", "exec("),
    ("ip,actions=^set_field:1->tp_src", "set_field:1->tp_src", "match on tcp or udp", "add tcp"),
    ("actions=^dec_ttl", "dec_ttl", "needs a match on ip or ipv6", "add ip"),
    ("ip,actions=dec_ttl(^1,2)", "1,2", "takes no arguments", ""),
    ("ip,actions=load:^4->reg0[0..1]", "4", "a value of 2 bits must be", ""),
    ("ip,actions=move:^reg0[]->nw_ttl[]", "reg0[]->nw_ttl[]", "32 bits, nw_ttl[] has 8", "width"),
    ("tcp,actions=mod_tp_src:^1/1", "1/1", "takes no mask", "set_field"),
    ("ip,^ct_nw_src=1.2.3.4,actions=drop", "ct_nw_src=1.2.3.4", "tracked ip", "ct_state=+trk"),
    ("ip,actions=ct(commit,table=^255)", "255", "from 0 to 254", ""),
    ("ip,ct_state=+trk+inv,actions=^ct(commit)", "ct(commit)", "cannot follow", "no connection"),
    # lines
    (
        "^delete table=0",
        "delete",
        "'delete' lines are not supported: the text is the whole policy",
        "shall exist",
    ),
    ("^modify_strict tcp actions=drop", "modify_strict", "lines are not supported", ""),
]


@pytest.mark.parametrize(("marked", "token", "message", "hint"), CASES)
def test_error(marked: str, token: str, message: str, hint: str) -> None:
    column = marked.index("^") + 1
    text = marked.replace("^", "")
    with pytest.raises(FlowSyntaxError) as caught:
        parse_flows(f"# policy\n\n{text}\n", source="p.flows", ports=PORTS)
    error = caught.value
    assert (error.source, error.line) == ("p.flows", 3)
    assert message in error.message
    assert hint in error.hint
    assert (error.column, error.token) == (column, token)
    shown = str(error).splitlines()
    assert shown[0] == f"p.flows:3:{column}: {error.message}"
    assert shown[1] == f"    {text.rstrip()}"
    assert shown[2].index("^") == 4 + column - 1


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_MATCHES | {"xreg0", "xxreg1", "tun_metadata3"}))
def test_known_but_unsupported_match(name: str) -> None:
    with pytest.raises(FlowSyntaxError, match="not supported yet") as caught:
        parse_flows(f"{name}=1,actions=drop", ports=PORTS)
    assert (caught.value.column, caught.value.token) == (1, name)
    assert "valid OVS match" in caught.value.hint


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_OPTIONS))
def test_known_but_unsupported_option(name: str) -> None:
    with pytest.raises(FlowSyntaxError, match="not supported yet") as caught:
        parse_flows(f"tcp,{name}=1,actions=drop", ports=PORTS)
    assert caught.value.column == 5


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_ACTIONS))
def test_known_but_unsupported_action(name: str) -> None:
    with pytest.raises(FlowSyntaxError, match="not supported yet") as caught:
        parse_flows(f"actions={name}:1", ports=PORTS)
    assert (caught.value.column, caught.value.token) == (9, name)


@pytest.mark.parametrize(
    ("marked", "message", "hint"),
    [
        ("ct(commit,timeout=^shrot)", "no timeout policy 'shrot'", "did you mean 'short'?"),
        ("ct(commit,timeout=^x)", "no timeout policy 'x'", "valid names: long, short"),
        ("ct(commit,^timeout)", "'timeout' needs a value", "write timeout=NAME"),
        ("ct(^timeout=short,table=1)", "with commit only", "add commit"),
        ("ct(commit,timeout=short,^timeout=long)", "given twice", ""),
    ],
)
def test_timeout_policies(marked: str, message: str, hint: str) -> None:
    text = f"ip,actions={marked.replace('^', '')}"
    with pytest.raises(FlowSyntaxError) as caught:
        parse_flows(text, ports=PORTS, timeouts={"short", "long"})
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.column == len("ip,actions=") + marked.index("^") + 1


def test_no_timeout_policies_at_all() -> None:
    with pytest.raises(FlowSyntaxError) as caught:
        parse_flows("ip,actions=ct(commit,timeout=short)", ports=PORTS)
    assert "[conntrack.timeout_policy.NAME]" in caught.value.hint


def test_all_errors_of_a_text_in_order() -> None:
    text = "tcp,udp,tpc=1,actions=foo\n# fine\narp,actions=NORMAL\npriority=x,actions=drop,1\n"
    with pytest.raises(FlowSyntaxError) as caught:
        parse_flows(text, ports=PORTS)
    places = [(error.line, error.column) for error in caught.value.errors]
    assert places == [(1, 5), (1, 9), (1, 23), (4, 10), (4, 20)]
    shown = str(caught.value)
    assert shown.endswith("5 errors in flows")
    for error in caught.value.errors:
        assert error.render() in shown


def test_caret_stays_under_its_token_behind_tabs() -> None:
    with pytest.raises(FlowSyntaxError) as caught:
        parse_flows("\ttcp,\tbad=1 actions=drop", ports=PORTS)
    line, caret = str(caught.value).splitlines()[1:3]
    assert line == "    \ttcp,\tbad=1 actions=drop"
    assert caret == "    \t    \t^~~"


def test_two_flows_for_the_same_packets_are_an_error() -> None:
    text = "priority=1,tcp,actions=drop\npriority=1,ip,nw_proto=6,actions=vm1"
    with pytest.raises(FlowSyntaxError, match="same table, priority and match as line 1") as caught:
        parse_flows(text, ports=PORTS)
    assert caught.value.line == 2
    other_table = text.replace("\npriority", "\ntable=1,priority")
    assert len(parse_flows(other_table, ports=PORTS)) == 2


def test_selector_errors() -> None:
    with pytest.raises(FlowSyntaxError, match="has no actions"):
        parse_selector("tcp,actions=drop", ports=PORTS)
    with pytest.raises(FlowSyntaxError, match="strict mode only"):
        parse_selector("priority=1,tcp", ports=PORTS)
    with pytest.raises(FlowSyntaxError, match="unknown match field"):
        parse_selector("tpc", ports=PORTS)
