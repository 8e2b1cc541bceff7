# SPDX-License-Identifier: Apache-2.0
"""FTP and TFTP through a policy that lets in only what they announce."""

from __future__ import annotations

from typing import Any

from topo import control
from topo.plan import EXT, VM1, VM2, HostPlan
from topo.scenario.context import Context

FTP, PLAIN, TFTP = 21, 2121, 69
#: What the policy marks control connections with.
MARK = 7
BYTES = 300_000
TFTP_BYTES = 5000

#: Kind, client, server.  The data connection goes from outside to inside each time.
EXCHANGES = (
    ("PORT", VM1, EXT),
    ("EPRT", VM1, EXT),
    ("PASV", EXT, VM1),
    ("EPSV", EXT, VM1),
)


#: What vm2 is outside.
TRANSLATED = ("10.0.0.200", "fd00::200")


def serve(context: Context) -> None:
    """Servers on both sides."""
    context.serve(VM1, "ftp_server", str(FTP), str(PLAIN))
    context.serve(EXT, "ftp_server", str(FTP))
    context.serve(EXT, "tftp", "serve", str(TFTP))


def ftp(context: Context) -> None:
    """Each kind of data connection, IPv4 and IPv6."""
    for kind, client, server in EXCHANGES:
        for address in (server.ipv4, server.ipv6):
            if ":" in address and kind in ("PORT", "PASV"):
                continue  # these commands know IPv4 only
            exchange(context, kind, client, server, address)


def translated_ftp(context: Context) -> None:
    """The same from vm2, whose address is another outside: what it announces is rewritten."""
    for address in TRANSLATED:
        words = f"ip neigh add {address} lladdr {VM2.mac} dev {EXT.interface}".split()
        context.run(EXT, words, timeout=10.0)
    for kind in ("PORT", "EPRT", "PASV", "EPSV"):
        exchange(context, kind, VM2, EXT, EXT.ipv4)
    for kind in ("EPRT", "EPSV"):
        exchange(context, kind, VM2, EXT, EXT.ipv6)


def exchange(context: Context, kind: str, client: HostPlan, server: HostPlan, address: str) -> None:
    """One exchange: what was transferred, and what conntrack says of its connections."""
    before = {connection["id"] for connection in control.connections()}
    words = (address, str(FTP), kind, str(BYTES))
    answer = context.run_program(client, "ftp_client", *words, timeout=60.0)
    new = [c for c in control.connections() if c["id"] not in before]
    controls = [c for c in new if c["helper"] == "ftp"]
    data = [c for c in new if not c["helper"]]
    context.expect(
        f"FTP {kind} {client.name}->{address}",
        answer == {"got": BYTES, "put": BYTES}
        and len(controls) == 1
        and not control.hardware_packets(controls[0])
        and controls[0]["offload_reason"] == "a helper reads its packets: ftp"
        and len(data) == 2
        and all(c["mark"] == MARK for c in new)
        and all(control.hardware_packets(c) for c in data),
        f"{answer}; control: {told(controls)}; data: {told(data)}",
    )


def told(found: list[dict[str, Any]]) -> str:
    """Connections in a few words."""
    return ", ".join(
        f"{c['original']['sport']}>{c['original']['dport']} mark {c['mark']} "
        f"{control.hardware_packets(c)} of {control.all_packets(c)} by entries "
        f"({c['offload_reason']})"
        for c in found
    )


def reason(context: Context) -> None:
    """While a control connection is open: why it is not offloaded."""
    program = "import ftplib,sys;f=ftplib.FTP();f.connect(sys.argv[1]);f.login();f.voidcmd('NOOP');"
    program += "f.sendcmd('PASV');print('\"ready\"',flush=True);sys.stdin.read()"
    process = context.popen(EXT, ["python3", "-c", program, VM1.ipv4])
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    found = [c for c in control.connections(dport=FTP) if c["state"] == "ESTABLISHED"]
    expected = control.query("conntrack", "expectations")
    context.expect(
        "a control connection stays in software",
        line == '"ready"'
        and [c["offload_reason"] for c in found] == ["a helper reads its packets: ftp"]
        and [(e["src"], e["dst"], e["zone"]) for e in expected] == [(EXT.ipv4, VM1.ipv4, 1)],
        f"{[c['offload_reason'] for c in found]}; expected: {[e['line'] for e in expected]}",
    )
    process.communicate("")
    control.wait_until(lambda: not control.query("conntrack", "expectations"), timeout=20.0)
    left = control.query("conntrack", "expectations")
    context.expect("its expectation ends with it", not left, f"{len(left)} left")


def without_helper(context: Context) -> None:
    """On a port without alg= nothing is let in."""
    words = (VM1.ipv4, str(PLAIN), "PASV", str(BYTES))
    answer = context.run_program(EXT, "ftp_client", *words, timeout=60.0)
    context.expect(
        "without a helper no data connection", "imeout" in answer.get("error", ""), str(answer)
    )


def tftp(context: Context) -> None:
    """The server answers from another port than it was asked at."""
    for address in (EXT.ipv4, EXT.ipv6):
        words = ("get", address, str(TFTP), str(TFTP_BYTES))
        got = context.run_program(VM1, "tftp", *words, timeout=30.0)
        found = control.query("conntrack", "list", "udp", f"orig-src={address}")
        context.expect(
            f"TFTP vm1->{address}",
            got == TFTP_BYTES and [c["mark"] for c in found] == [MARK],
            f"{got} of {TFTP_BYTES} bytes; {[c['line'] for c in found]}",
        )
