# SPDX-License-Identifier: Apache-2.0
"""The words of the flow language: what is supported, and what OVS knows but this does not yet.

A known but unsupported word gets a message that says so; any other word is a mistake and gets the
nearest valid name. Sources: ovs-fields(7), ovs-actions(7), ovs-ofctl(8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from p4ct.pipeline import values
from p4ct.pipeline.fields import (
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ETH_RARP,
    FIELDS,
    ICMP,
    ICMPV6,
    REGISTERS,
    SCTP,
    TCP,
    UDP,
    Field,
)

__all__ = ["ACTION_NAMES", "CT_ARGUMENTS", "MATCH_FIELDS", "PROTOCOLS", "WRITE_NAMES", "MatchField"]

Parser = Callable[[str], tuple[int, int]]

PROTOCOLS: Mapping[str, tuple[int, int | None]] = {
    "ip": (ETH_IP, None),
    "ipv4": (ETH_IP, None),
    "ip4": (ETH_IP, None),
    "arp": (ETH_ARP, None),
    "rarp": (ETH_RARP, None),
    "icmp": (ETH_IP, ICMP),
    "tcp": (ETH_IP, TCP),
    "udp": (ETH_IP, UDP),
    "sctp": (ETH_IP, SCTP),
    "ipv6": (ETH_IPV6, None),
    "ip6": (ETH_IPV6, None),
    "icmp6": (ETH_IPV6, ICMPV6),
    "tcp6": (ETH_IPV6, TCP),
    "udp6": (ETH_IPV6, UDP),
    "sctp6": (ETH_IPV6, SCTP),
}
"""Words that stand for an Ethernet type and, where given, an IP protocol."""


class MatchField(NamedTuple):
    """How one match token is read: the field it sets, its parser and its prerequisite's name."""

    field: Field
    parse: Parser
    needs: str = ""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _number(field: Field, *, maskable: bool = False, bits: int = 0) -> Parser:
    name, width = FIELDS[field].name, bits or FIELDS[field].bits

    def parse(text: str) -> tuple[int, int]:
        if maskable:
            return values.parse_masked(text, width, what=name)
        if "/" in text:
            raise values.ValueProblem(
                f"{name} takes no mask", "give one value", offset=text.index("/")
            )
        return values.parse_uint(text, 0, (1 << width) - 1, what=name), FIELDS[field].mask

    return parse


def _ct_state(text: str) -> tuple[int, int]:
    value, mask = values.parse_flags(text, values.CT_STATE_NAMES, what="ct_state")
    trk, inv, new, est, rpl = 0x20, 0x10, 0x01, 0x02, 0x08
    why = ""
    if value and mask & trk and not value & trk:
        why = "an untracked packet (-trk) has no other flag"
    elif value & inv and value & ~(inv | trk):
        why = "an invalid packet (+inv) has no other flag than trk"
    elif value & new and value & (est | rpl):
        why = "new excludes est and rpl"
    if why:
        hint = "see ct_state in ovs-fields(7)"
        if text[0].isalpha():
            signed = "".join(f"+{word}" for word in text.split("|"))
            hint = f"write {signed}; without a sign it means these flags and no others"
        raise values.ValueProblem(f"ct_state={text} can never match: {why}", hint)
    return value, mask


def _tcp_flags(text: str) -> tuple[int, int]:
    return values.parse_flags(text, values.TCP_FLAG_NAMES, what="tcp_flags")


def _dscp_in_tos(text: str) -> tuple[int, int]:
    value = values.parse_uint(text, 0, 255, what="nw_tos")
    if value & 3:
        raise values.ValueProblem(
            f"nw_tos={text} sets the ECN bits, which nw_tos does not cover",
            f"write nw_tos={value & 0xFC},nw_ecn={value & 3}",
        )
    return value, 0xFC


def _dscp(text: str) -> tuple[int, int]:
    return values.parse_uint(text, 0, 63, what="ip_dscp") << 2, 0xFC


def _dl_vlan(text: str) -> tuple[int, int]:
    if text.lower() == "0xffff":  # OFP_VLAN_NONE: no tag
        return 0, 0x1FFF
    return 0x1000 | values.parse_uint(text, 0, 4095, what="dl_vlan"), 0x1FFF


def _vlan_vid(text: str) -> tuple[int, int]:
    return values.parse_masked(text, 13, what="vlan_vid (with 0x1000 for a tag)")


def _mac(text: str) -> tuple[int, int]:
    return values.parse_mac(text)


_SRC_PORT = _number(Field.TP_SRC, maskable=True)
_DST_PORT = _number(Field.TP_DST, maskable=True)
_ICMP_NUMBER = _number(Field.ICMP_TYPE)

MATCH_FIELDS: Mapping[str, MatchField] = {
    "dl_src": MatchField(Field.DL_SRC, _mac),
    "eth_src": MatchField(Field.DL_SRC, _mac),
    "dl_dst": MatchField(Field.DL_DST, _mac),
    "eth_dst": MatchField(Field.DL_DST, _mac),
    "dl_type": MatchField(Field.DL_TYPE, _number(Field.DL_TYPE)),
    "eth_type": MatchField(Field.DL_TYPE, _number(Field.DL_TYPE)),
    "dl_vlan": MatchField(Field.VLAN_VID, _dl_vlan),
    "vlan_vid": MatchField(Field.VLAN_VID, _vlan_vid),
    "dl_vlan_pcp": MatchField(Field.VLAN_PCP, _number(Field.VLAN_PCP)),
    "vlan_pcp": MatchField(Field.VLAN_PCP, _number(Field.VLAN_PCP), "vlan"),
    "nw_src": MatchField(Field.NW_SRC, values.parse_ipv4, "ip"),
    "ip_src": MatchField(Field.NW_SRC, values.parse_ipv4, "ip"),
    "nw_dst": MatchField(Field.NW_DST, values.parse_ipv4, "ip"),
    "ip_dst": MatchField(Field.NW_DST, values.parse_ipv4, "ip"),
    "ipv6_src": MatchField(Field.IPV6_SRC, values.parse_ipv6, "ipv6"),
    "ipv6_dst": MatchField(Field.IPV6_DST, values.parse_ipv6, "ipv6"),
    "nw_proto": MatchField(Field.NW_PROTO, _number(Field.NW_PROTO), "ip or ipv6"),
    "ip_proto": MatchField(Field.NW_PROTO, _number(Field.NW_PROTO), "ip or ipv6"),
    "nw_tos": MatchField(Field.NW_TOS, _dscp_in_tos, "ip or ipv6"),
    "ip_dscp": MatchField(Field.NW_TOS, _dscp, "ip or ipv6"),
    "nw_ecn": MatchField(Field.NW_ECN, _number(Field.NW_ECN), "ip or ipv6"),
    "ip_ecn": MatchField(Field.NW_ECN, _number(Field.NW_ECN), "ip or ipv6"),
    "nw_ttl": MatchField(Field.NW_TTL, _number(Field.NW_TTL), "ip or ipv6"),
    "nw_frag": MatchField(Field.NW_FRAG, values.parse_frag, "ip or ipv6"),
    "ip_frag": MatchField(Field.NW_FRAG, values.parse_frag, "ip or ipv6"),
    "tp_src": MatchField(Field.TP_SRC, _SRC_PORT, "tcp or udp"),
    "tp_dst": MatchField(Field.TP_DST, _DST_PORT, "tcp or udp"),
    "tcp_src": MatchField(Field.TP_SRC, _SRC_PORT, "tcp"),
    "tcp_dst": MatchField(Field.TP_DST, _DST_PORT, "tcp"),
    "udp_src": MatchField(Field.TP_SRC, _SRC_PORT, "udp"),
    "udp_dst": MatchField(Field.TP_DST, _DST_PORT, "udp"),
    "tcp_flags": MatchField(Field.TCP_FLAGS, _tcp_flags, "tcp"),
    "icmp_type": MatchField(Field.ICMP_TYPE, _ICMP_NUMBER, "icmp"),
    "icmp_code": MatchField(Field.ICMP_CODE, _number(Field.ICMP_CODE), "icmp"),
    "icmpv6_type": MatchField(Field.ICMP_TYPE, _ICMP_NUMBER, "icmp6"),
    "icmpv6_code": MatchField(Field.ICMP_CODE, _number(Field.ICMP_CODE), "icmp6"),
    "nd_target": MatchField(Field.ND_TARGET, values.parse_ipv6, "neighbour discovery"),
    "arp_op": MatchField(Field.ARP_OP, _number(Field.ARP_OP), "arp"),
    "arp_spa": MatchField(Field.ARP_SPA, values.parse_ipv4, "arp"),
    "arp_tpa": MatchField(Field.ARP_TPA, values.parse_ipv4, "arp"),
    "arp_sha": MatchField(Field.ARP_SHA, _mac, "arp"),
    "arp_tha": MatchField(Field.ARP_THA, _mac, "arp"),
    "ct_state": MatchField(Field.CT_STATE, _ct_state),
    "ct_zone": MatchField(Field.CT_ZONE, _number(Field.CT_ZONE, maskable=True)),
    "ct_mark": MatchField(Field.CT_MARK, _number(Field.CT_MARK, maskable=True)),
    "ct_label": MatchField(Field.CT_LABEL, _number(Field.CT_LABEL, maskable=True)),
    "ct_nw_proto": MatchField(Field.CT_NW_PROTO, _number(Field.CT_NW_PROTO), "tracked"),
    "ct_nw_src": MatchField(Field.CT_NW_SRC, values.parse_ipv4, "tracked ip"),
    "ct_nw_dst": MatchField(Field.CT_NW_DST, values.parse_ipv4, "tracked ip"),
    "ct_ipv6_src": MatchField(Field.CT_IPV6_SRC, values.parse_ipv6, "tracked ipv6"),
    "ct_ipv6_dst": MatchField(Field.CT_IPV6_DST, values.parse_ipv6, "tracked ipv6"),
    "ct_tp_src": MatchField(Field.CT_TP_SRC, _number(Field.CT_TP_SRC, maskable=True), "tracked"),
    "ct_tp_dst": MatchField(Field.CT_TP_DST, _number(Field.CT_TP_DST, maskable=True), "tracked"),
    **{
        FIELDS[register].name: MatchField(register, _number(register, maskable=True))
        for register in REGISTERS
    },
}
"""Every token that sets one field; `in_port` and `vlan_tci` are read apart."""

FLOW_KEYS = frozenset({"table", "priority", "cookie", "actions"})

STATISTICS = frozenset({"duration", "n_packets", "n_bytes", "idle_age", "hard_age"})
"""What dump-flows prints and add-flow accepts without effect, so that a dump can be read back."""

MATCH_NAMES = frozenset({*MATCH_FIELDS, *PROTOCOLS, *FLOW_KEYS, "in_port", "vlan_tci"})

UNSUPPORTED_MATCHES = _names(
    "tun_id tunnel_id tun_src tun_dst tun_ipv6_src tun_ipv6_dst tun_flags tun_ttl tun_tos "
    "tun_gbp_id tun_gbp_flags tun_erspan_idx tun_erspan_ver tun_erspan_dir tun_erspan_hwid "
    "tun_gtpu_flags tun_gtpu_msgtype metadata in_port_oxm actset_output skb_priority pkt_mark "
    "dp_hash recirc_id packet_type conj_id eth mpls mplsm mpls_label mpls_tc mpls_bos mpls_ttl "
    "ipv6_label sctp_src sctp_dst nd_sll nd_tll nd_reserved nd_options_type nsh_flags nsh_mdtype "
    "nsh_np nsh_spi nsh_si nsh_ttl nsp nsi dl_vlan1 dl_vlan_pcp1 vlan_tci1"
)
UNSUPPORTED_MATCH_PREFIXES = ("xreg", "xxreg", "tun_metadata", "NXM_", "OXM_")
UNSUPPORTED_OPTIONS = _names(
    "idle_timeout hard_timeout importance send_flow_rem check_overlap reset_counts "
    "no_packet_counts no_byte_counts no_readonly_table allow_hidden_fields out_port "
    "out_group"
)

WRITE_NAMES = _names(
    "set_field load move dec_ttl mod_dl_src mod_dl_dst mod_nw_src mod_nw_dst mod_nw_tos mod_nw_ecn "
    "mod_nw_ttl mod_tp_src mod_tp_dst mod_vlan_vid mod_vlan_pcp set_vlan_vid set_vlan_pcp"
)
ACTION_NAMES = WRITE_NAMES | _names(
    "output in_port normal drop ct ct_clear resubmit goto_table push_vlan pop_vlan strip_vlan"
)
UNSUPPORTED_ACTIONS = _names(
    "group controller enqueue bundle bundle_load set_nw_ttl push pop set_mpls_label set_mpls_tc "
    "set_mpls_ttl dec_mpls_ttl push_mpls pop_mpls dec_nsh_ttl delete_field encap decap set_tunnel "
    "set_tunnel64 set_queue pop_queue fin_timeout learn conjunction multipath note exit sample "
    "clone nat meter clear_actions write_actions write_metadata apply_actions check_pkt_larger "
    "delete all flood local table none any"
)

CT_ARGUMENTS = frozenset({"commit", "force", "zone", "table", "nat", "exec", "alg", "timeout"})
