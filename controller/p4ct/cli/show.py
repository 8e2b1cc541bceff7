# SPDX-License-Identifier: Apache-2.0
"""How answers look on a terminal: the formats of conntrack, ovs-ofctl and dpctl."""

from __future__ import annotations

from typing import Any

import click

__all__ = [
    "changed",
    "connections",
    "deleted",
    "expectations",
    "explanation",
    "flows",
    "flushed",
    "health",
    "imported",
    "moved",
    "pending",
    "records",
    "settings",
    "sources",
    "stateless",
    "stats",
    "status",
    "vports",
    "why",
]


def connections(found: list[dict[str, Any]]) -> None:
    """Lines of `conntrack -L`."""
    for item in found:
        click.echo(item["line"])
    click.echo(f"{len(found)} connections have been shown.", err=True)


def records(found: list[dict[str, Any]]) -> None:
    """One line for each entry, with the columns of dpctl/dump-flows."""
    for rec in found:
        for entry in rec["entries"]:
            version, proto = rec["version"], rec["proto"]
            ip = "ipv4" if version == 4 else "ipv6"
            ports = f",{proto}(src={entry['sport']},dst={entry['dport']})"
            if proto.startswith("icmp"):
                ports = f",{proto}(id={entry['sport']},type={entry['dport'] >> 8})"
            zones = ",".join(str(zone) for zone in rec["zones"])
            tag = entry["push_vlan"]
            actions = "" if tag is None else f"push_vlan(vid={tag},pcp=0),"
            rpl = "+rpl" if entry["direction"] == "reply" else "-rpl"
            click.echo(
                f"ct_state(+est{rpl}+trk),ct_zone({zones}),in_port({entry['in_port']}),"
                f"eth(src={entry['eth_src']},dst={entry['eth_dst']}),"
                f"{ip}(src={entry['src']},dst={entry['dst']}){ports}, "
                f"packets:{entry['packets']}, bytes:{entry['bytes']}, used:{rec['used']:.3f}s, "
                f"offloaded:{'yes' if rec['state'] == 'active' else rec['state']}, dp:eswitch, "
                f"index:{rec['index']}/{rec['generation']}, "
                f"actions:{actions}{entry['output']}"
            )


def stateless(found: list[dict[str, Any]]) -> None:
    """One line for each stateless flow, with the columns of dpctl/dump-flows."""
    for item in found:
        parts = [f"in_port({item['in_port']})"]
        ip = "ipv6" if item["eth_type"] == 0x86DD else "ipv4"
        groups = (
            ("eth", ("src", item["eth_src"]), ("dst", item["eth_dst"])),
            ("eth_type", ("", f"{item['eth_type']:#06x}")),
            (ip, ("src", item["src"]), ("dst", item["dst"]), ("proto", item["proto"])),
            ("l4", ("src", item["sport"]), ("dst", item["dport"])),
        )
        for name, *fields in groups:
            told = [
                f"{key}={value}" if key else value for key, value in fields if value is not None
            ]
            parts += [f"{name}({','.join(told)})"] if told else []
        click.echo(
            f"{','.join(parts)}, packets:{item['packets']}, bytes:{item['bytes']}, "
            f"offloaded:{'yes' if item['state'] == 'active' else item['state']}, dp:eswitch, "
            f"actions:{item['output']}"
        )
    click.echo(f"{len(found)} flows have been shown.", err=True)


def pending(found: list[dict[str, Any]]) -> None:
    """Position and connection."""
    for item in found:
        click.echo(f"{item['position']:>6}  {item['line']}")
    click.echo(f"{len(found)} connections are waiting.", err=True)


def why(answer: dict[str, Any]) -> None:
    """Each connection with its reason, then the reasons by number."""
    for item in answer["connections"]:
        original = item["original"]
        reason = "offloaded" if item["offloaded"] else item["offload_reason"] or "not decided yet"
        ends = f"{_end(original['src'], original['sport'])} > "
        ends += _end(original["dst"], original["dport"])
        if item["proto"].startswith("icmp"):
            # The tracker keeps type and code in the place of the destination port.
            kind, code = divmod(original["dport"], 256)
            ends = f"{original['src']} > {original['dst']} type={kind} "
            ends += f"code={code} id={original['sport']}"
        click.echo(f"{item['proto']:<6} {ends} zone={item['zone']} {item['state']}: {reason}")
    if not answer["connections"]:
        click.echo("0 connections")
    if answer["reasons"]:
        click.echo()
    for reason, number in sorted(answer["reasons"].items(), key=lambda pair: -pair[1]):
        click.echo(f"{number:>8}  {reason or 'not decided yet'}")


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def flows(found: list[dict[str, Any]]) -> None:
    """Lines of `ovs-ofctl dump-flows`."""
    for item in found:
        click.echo(item["text"])


def changed(answer: dict[str, Any]) -> None:
    """What became of the policy."""
    click.echo(f"flows added: {answer['added']}, removed: {answer['removed']}; in effect")


def deleted(answer: dict[str, Any]) -> None:
    """What became of the policy when flows were to be deleted."""
    if answer["removed"]:
        changed(answer)
    else:
        click.echo("no flow matches")


def imported(answer: dict[str, int]) -> None:
    """What became of the connections of a file."""
    click.echo(f"connections imported: {answer['imported']}, known already: {answer['known']}")


def flushed(number: int) -> None:
    """How many connections are gone."""
    click.echo(f"connections flushed: {number}")


def vports(found: list[dict[str, Any]]) -> None:
    """One line for each vport, in columns."""
    head = ("ID", "NAME", "KIND", "PORT", "TAG", "MTU", "NEXT HOP", "ENTRIES", "TUNNEL")
    rows: list[tuple[str, ...]] = [head]
    for item in found:
        tunnel = "-"
        if item["vxlan"] is not None:
            way = item["vxlan"]
            tunnel = f"vxlan {way['vni']} {way['local']} > {way['remote']} "
            tunnel += f"({way['outer_eth_src']} > {way['outer_eth_dst']})"
        cells = (item["id"], item["name"], item["kind"], item["port"], item["vlan"] or "-")
        cells += (item["mtu"] or "-", item["next_hop"] or "-", item["entries"], tunnel)
        rows.append(tuple(map(str, cells)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def moved(answer: dict[str, Any]) -> None:
    """What followed the vports."""
    click.echo(
        f"moved: {', '.join(answer['vports'])}; next hops rewritten: {answer['next_hops']}, "
        f"entries that follow: {answer['entries']}"
    )


def expectations(found: list[dict[str, Any]]) -> None:
    """Lines of `dpctl/dump-conntrack-exp`, with zone and seconds left."""
    for item in found:
        zone = f",zone={item['zone']}" if item["zone"] else ""
        left = f",timeout={int(item['timeout'])},helper={item['helper']}"
        click.echo(f"{item['line']}{zone}{left}")
    click.echo(f"{len(found)} expectations have been shown.", err=True)


def sources(found: list[dict[str, Any]]) -> None:
    """A line for each address that opened connections."""
    click.echo(f"{'connections':>11}  {'unreplied':>9}  {'zone':>5}  address")
    for item in found:
        numbers = f"{item['connections']:>11}  {item['unreplied']:>9}  {item['zone']:>5}"
        click.echo(f"{numbers}  {item['address']}")


def settings(answer: dict[str, Any]) -> None:
    """Timeouts in seconds and limits, one a line."""
    for name, value in answer["timeouts"].items():
        click.echo(f"{name}={value:g}")
    for name, value in answer["limits"].items():
        click.echo(f"{name}={value or '0 (no limit)'}")


def stats(answer: dict[str, Any]) -> None:
    """Totals in the layout of dpctl/ct-stats-show, and what was dropped or refused."""
    click.echo("Connections Stats:")
    click.echo(f"    Total: {answer['total']} (at most {answer['limit']})")
    for name, number in answer["by_protocol"].items():
        click.echo(f"  {name.upper()}: {number}")
        if name == "tcp":
            click.echo("    Conn per TCP states:")
            for state, count in answer["by_tcp_state"].items():
                click.echo(f"      [{state}]={count}")
    for title, name in (
        ("By state", "by_state"),
        ("By zone", "by_zone"),
        ("Events", "counters"),
        ("Fragments", "fragments"),
        ("Kernel", "kernel_sync"),
    ):
        click.echo(f"{title}: {_numbers(answer[name])}")
    click.echo(f"Expectations: {answer['expectations']}")


def explanation(answer: dict[str, Any]) -> None:
    """Connections, then the trace, then the verdicts."""
    click.echo(f"tuple:      {answer['tuple']}")
    words = answer["tuple"].split()
    zero = [name for name in ("sport", "dport") if f"{name}=0" in words]
    if zero:
        names = " and ".join(f"{name} 0" for name in zero)
        add = " ".join(f"{name}=N" for name in zero)
        click.echo(f"note:       asked with {names}; add {add} for another packet")
    for item in answer["connections"]:
        click.echo(f"connection: {item['line']} ({item['direction']} direction)")
        if item["offloaded"]:
            rec = item["record"]
            click.echo(
                f"offloaded:  index {rec['index']}/{rec['generation']}, {rec['state']}, "
                f"idle timeout {rec['idle_timeout']:g} s, "
                f"original {rec['cells'][0][0]} packets {rec['cells'][0][1]} bytes, "
                f"reply {rec['cells'][1][0]} packets {rec['cells'][1][1]} bytes"
            )
        else:
            click.echo(f"software:   {item['reason'] or 'not decided yet'}")
    if not answer["connections"]:
        click.echo("connection: none")
    for line in answer["trace"]:
        click.echo(f"    {line}")
    if "assumed" in answer:
        click.echo(f"assumed:    {answer['assumed']}")
    click.echo(f"verdict:    {answer['verdict']}")
    if "eswitch" in answer:
        click.echo(f"eswitch:    {answer['eswitch']}")


def status(answer: dict[str, Any]) -> None:
    """One line for each kind of total."""
    packets, connections_ = answer["packets"], answer["connections"]
    total = packets["punted"] + packets["fast_path"]
    share = 100 * packets["fast_path"] / total if total else 0.0
    target = answer["target"]
    rows = [
        (
            "target",
            f"{target['address']} ({health(target)}), program {target['program_version']}, "
            f"session {target['sessions']}",
        ),
        ("policy", f"version {answer['policy_version']}, {answer['flows']} flows"),
        (
            "connections",
            f"{connections_['active']} active, {connections_['seen']} seen, "
            f"{connections_['offloaded']} offloaded now, {connections_['offloaded_total']} "
            f"offloaded in all, {connections_['removed_total']} removed",
        ),
        (
            "packets",
            f"{packets['punted']} punted, {packets['fast_path']} by entries ({share:.2f} %)",
        ),
        ("entries", f"{answer['entries']} (capacity {2 * answer['offload']['capacity']})"),
        ("ageing", _ageing(answer["offload"]["ageing"])),
        ("pending", str(answer["pending"])),
        ("punts", _numbers(answer["punts"])),
    ]
    rows += [(f"drops, {name}", _numbers(drops)) for name, drops in answer["drops"].items()]
    rows += [
        ("removed", _numbers(answer["offload"]["removed"])),
        ("refused", _numbers(answer["offload"]["failed"])),
        ("drift", _numbers(answer["offload"]["drift"])),
    ]
    for name, text in rows:
        click.echo(f"{name:<18}{text}")


def _ageing(found: dict[str, Any]) -> str:
    sampling = found.get("sampling")
    if sampling is None:
        return f"by {found['by']}"
    return f"by {found['by']}: {sampling['text']} (so far {sampling['latest']:g} s)"


def health(target: dict[str, Any]) -> str:
    """How the session with the switch is."""
    if target.get("standby"):
        return "STANDBY: another controller is primary; counters may be old"
    if not target["connected"]:
        return "NOT CONNECTED: counters may be old"
    if not target["in_step"]:
        return "connected, RECONCILING"
    return "connected" if target["fresh"] else "connected, NOT ANSWERING: counters may be old"


def _numbers(counts: dict[str, int]) -> str:
    shown = [f"{name} {number}" for name, number in counts.items() if number]
    return ", ".join(shown) or "none"
