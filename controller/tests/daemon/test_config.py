# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the configuration: each is found, with its line, and says what would be right."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from p4ct.conntrack import Limits
from p4ct.daemon.check import load
from p4ct.daemon.config import Config, ConfigError, File, Policer
from p4ct.daemon.places import Places
from p4ct.eswitch.enums import PuntClass
from p4ct.offload.ageing import Ageing, Sampling
from p4ct.offload.decide import Mode
from p4ct.offload.options import OnPolicyChange

from .bench import write_config


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    prefix = f"{path}:"
    assert all(line.startswith(prefix) for line in caught.value.problems)
    return [line.removeprefix(prefix) for line in caught.value.problems]


def line_of(path: Path, text: str) -> int:
    return path.read_text().splitlines().index(text) + 1


def test_the_least_that_is_needed_gives_the_defaults(tmp_path: Path) -> None:
    config = load(write_config(tmp_path))
    assert isinstance(config, Config)
    assert config.socket == tmp_path / "p4ct.sock"
    assert config.log_file is None
    assert config.metrics is None
    assert config.offload.mode is Mode.ASSURED
    assert config.offload.policy_change is OnPolicyChange.RECHECK
    assert config.offload.capacity == 0
    assert config.offload.ageing is Ageing.AUTO
    assert config.timeouts.tcp_established == 432000
    assert set(config.policer) == set(PuntClass)
    assert config.ports.numbers == {"vm1": 1, "ext": 3}


def test_paths_are_told_without_detours(tmp_path: Path) -> None:
    folder = tmp_path / "topo"
    folder.mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    more = '[admin]\nsocket = "../build/p4ct.sock"\n[log]\nfile = "../link"\n'
    config = load(write_config(folder, more=more))
    assert config.socket == tmp_path / "build" / "p4ct.sock"
    assert str(config.log_file) == str(tmp_path / "link"), "a link itself is left as it is"


def test_what_is_written_counts(tmp_path: Path) -> None:
    more = """
[conntrack]
tcp_loose = false
[conntrack.timeouts]
udp = 7
[conntrack.zone.5]
udp = 9.5
[policer.exception]
rate = 10
burst = 20
[offload]
mode = "established"
ageing = "sampling"
sample_interval = 2
sample_exponent = 5
policy_change = "cut"
idle_timeout = { tcp = 60 }
[admin]
socket = "run/ctl"
[metrics]
listen = "[::1]:9090"
[log]
file = "log/p4ct.log"
format = "json"
"""
    config = load(write_config(tmp_path, more=more))
    assert not config.conntrack.tcp_loose
    assert config.timeouts.udp == 7
    assert config.timeouts.for_zone(5).udp == 9.5
    assert config.policer[PuntClass.EXCEPTION] == Policer(10, 20)
    assert config.offload.mode is Mode.ESTABLISHED
    assert config.offload.policy_change is OnPolicyChange.CUT
    assert (config.offload.tcp_timeout, config.offload.udp_timeout) == (60, 180)
    assert config.offload.ageing is Ageing.SAMPLING
    assert config.offload.sampling == Sampling(2.0, 5)
    assert config.socket == tmp_path / "run/ctl"
    assert config.metrics == ("::1", 9090)
    assert config.log_file == tmp_path / "log/p4ct.log"
    assert config.log.format == "json"


@pytest.mark.parametrize(
    ("more", "text", "message"),
    [
        ("[conntrack]\nmax_conections = 5", "max_conections = 5",
         "conntrack.max_conections: unknown key; did you mean 'max_connections'?"),
        ("[offlod]\nmode = 'assured'", "[offlod]",
         "offlod: unknown section or key; did you mean 'offload'?"),
        ("[admin]\nport = 80", "port = 80", "admin.port: unknown key; valid: socket"),
        ("[metrics]\nlisten = 9090", "listen = 9090",
         "metrics.listen: must be a string, not 9090"),
        ("[metrics]\nlisten = ':9090'", "listen = ':9090'",
         "metrics.listen: ':9090' is not HOST:PORT"),
        ("[metrics]\nlisten = '127.0.0.1:0'", "listen = '127.0.0.1:0'",
         "metrics.listen: '127.0.0.1:0' is not HOST:PORT"),
        ("[metrics]\nlisten = '::1:9090'", "listen = '::1:9090'",
         "metrics.listen: '::1:9090' is not HOST:PORT"),
        ("[metrics]\nport = 9090", "port = 9090", "metrics.port: unknown key; valid: listen"),
        ("[log]\nlevel = 'loud'", "level = 'loud'",
         "log.level: the string 'loud' is not valid; one of: debug, info, warning, error"),
        ("[offload]\nmode = 'assumed'", "mode = 'assumed'",
         "offload.mode: the string 'assumed' is not valid; "
         "one of: assured, established, assume-established"),
        ("[offload]\ncapacity = '1000'", "capacity = '1000'",
         "offload.capacity: must be a whole number, not the string '1000'"),
        ("[offload]\ncapacity = 1.5", "capacity = 1.5",
         "offload.capacity: must be a whole number, not 1.5"),
        ("[offload]\ncapacity = -1", "capacity = -1",
         "offload.capacity: must not be negative (0: all that there is room for)"),
        ("[offload]\nenabled = 1", "enabled = 1",
         "offload.enabled: must be true or false, not 1"),
        ("[offload]\nidle_timeout = 5", "idle_timeout = 5",
         "offload.idle_timeout: must be a table, not 5"),
        ("[offload.idle_timeout]\ntcp = 0", "tcp = 0",
         "offload.idle_timeout.tcp: must be 1 to 1000000000 seconds"),
        ("[offload.idle_timeout]\nudp = nan", "udp = nan",
         "offload.idle_timeout.udp: must be 1 to 1000000000 seconds"),
        ("[offload]\nageing = 'never'", "ageing = 'never'",
         "offload.ageing: the string 'never' is not valid; one of: auto, idle-timeout, sampling"),
        ("[offload]\nsample_interval = 0", "sample_interval = 0",
         "offload.sample_interval: must be 0.1 to 150 seconds"),
        ("[offload]\nsample_interval = nan", "sample_interval = nan",
         "offload.sample_interval: must be 0.1 to 150 seconds"),
        ("[offload]\nsample_exponent = -1", "sample_exponent = -1",
         "offload.sample_exponent: must be 0 to 10"),
        ("[offload]\nsample_exponent = 0.5", "sample_exponent = 0.5",
         "offload.sample_exponent: must be a whole number, not 0.5"),
        ("[offload]\nsample_interval = 40.0", "sample_interval = 40.0",
         "offload.sample_interval: 40 seconds with sample_exponent 4 look at a connection every "
         "640 seconds; it must be at most 150"),
        ("[conntrack.timeouts]\ntcp_establish = 5", "tcp_establish = 5",
         "conntrack.timeouts.tcp_establish: unknown key; did you mean 'tcp_established'?"),
        ("[conntrack.timeouts]\nudp = 'long'", "udp = 'long'",
         "conntrack.timeouts.udp: must be a number, not the string 'long'"),
        ("[conntrack.timeouts]\nudp = true", "udp = true",
         "conntrack.timeouts.udp: must be a number, not true"),
        ("[conntrack.timeouts]\nudp = -1", "udp = -1",
         "conntrack.timeouts.udp: must be above 0 seconds and finite, not -1"),
        ("[conntrack.timeouts]\nudp = inf", "udp = inf",
         "conntrack.timeouts.udp: must be above 0 seconds and finite, not inf"),
        ("[conntrack.zone.70000]\nudp = 5", "[conntrack.zone.70000]",
         "conntrack.zone.70000: a zone is a number from 0 to 65535"),
        ("[conntrack.zone.1]\nudp = 0", "udp = 0",
         "conntrack.zone.1.udp: must be above 0 seconds and finite, not 0"),
        ("[conntrack]\nmax_connections = 0", "max_connections = 0",
         "conntrack.max_connections: must be at least 1"),
        ("[conntrack]\nmax_unreplied = -1", "max_unreplied = -1",
         "conntrack.max_unreplied: must be 0 or more"),
        ("[conntrack.limits]\nper_sorce = 5", "per_sorce = 5",
         "conntrack.limits.per_sorce: unknown key; did you mean 'per_source'?"),
        ("[conntrack.limits]\nunreplied = 1.5", "unreplied = 1.5",
         "conntrack.limits.unreplied: must be a whole number, 0 for no limit"),
        ("[conntrack.limits]\nudp = 5", "udp = 5",
         "conntrack.limits.udp: unknown key; valid: connections, unreplied, per_source"),
        ("[conntrack.zone.1]\nconnections = -1", "connections = -1",
         "conntrack.zone.1.connections: must be a whole number, 0 for no limit"),
        ("[conntrack.timeout_policy.short]\nupd = 5", "upd = 5",
         "conntrack.timeout_policy.short.upd: unknown key; did you mean 'udp'?"),
        ("[conntrack.timeout_policy.short]\nudp = 0", "udp = 0",
         "conntrack.timeout_policy.short.udp: must be above 0 seconds and finite, not 0"),
        ("[conntrack.timeout_policy.short]\ngre_strem = 5", "gre_strem = 5",
         "conntrack.timeout_policy.short.gre_strem: unknown key; did you mean 'gre_stream'?"),
        ("[conntrack.timeout_policy.9short]\nudp = 5", "[conntrack.timeout_policy.9short]",
         "conntrack.timeout_policy.9short: a name has up to 31 letters, digits, '_', '.' and '-', "
         "and begins with a letter"),
        ("[policer.mis]\nrate = 1\nburst = 1", "[policer.mis]",
         "policer.mis: unknown key; did you mean 'miss'?"),
        ("[policer.miss]\nrate = 1", "[policer.miss]", "policer.miss.burst: missing"),
        ("[policer.miss]\nrate = 0\nburst = 1", "rate = 0",
         "policer.miss.rate: must be 1 to 1000000000 packets"),
        ("[[vport]]\nid = 3\nname = 'x'\nport = 9", None,
         "vport: vports 'ext' and 'x' both have id 3"),
        ("[[vport]]\nid = 4\nname = 'ext'\nport = 9", None,
         "vport: two vports are named 'ext'; names must be unique"),
        ("[[vport]]\nid = 4\nname = 'x'\nport = 3", None,
         "vport: vports 'ext' and 'x' both claim untagged frames of port 3; "
         "give one of them another vlan"),
        ("[[vport]]\nid = 4\nname = 'x'\nport = 510", "port = 510",
         "vport.port: must be 0 to 507, not 510"),
        ("[[vport]]\nid = 4\nname = 'x'\nport = 5\nvlan = 'a'", "vlan = 'a'",
         "vport.vlan: must be a whole number, not the string 'a'"),
        ("[[vport]]\nid = 4\nport = 5", None, "vport.name: missing"),
        ("[admin]\nsocket = '" + "s" * 120 + "'", "socket = '" + "s" * 120 + "'", None),
    ],
)  # fmt: skip
def test_one_mistake(tmp_path: Path, more: str, text: str | None, message: str | None) -> None:
    path = write_config(tmp_path, more=more)
    (found,) = problems(path)
    line, _, said = found.partition(": ")
    place = line_of(path, text) if text else len(path.read_text().splitlines()) - more.count("\n")
    assert int(line) == place
    if message is not None:
        assert said == message
    else:
        assert "a socket's path has at most 107" in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('address = "127.0.0.1:9"', 'address = "localhost"',
         "target.address: 'localhost' is not HOST:PORT"),
        ('address = "127.0.0.1:9"', 'address = "h:70000"',
         "target.address: 'h:70000' is not HOST:PORT"),
        ("connect_timeout = 0.3", "connect_timeout = 0",
         "target.connect_timeout: must be above 0 seconds and finite"),
        ("connect_timeout = 0.3", "election_id = 0",
         "target.election_id: must be at least 1 and below 2^128"),
        ("connect_timeout = 0.3", f"election_id = {1 << 128}",
         "target.election_id: must be at least 1 and below 2^128"),
        ("connect_timeout = 0.3", "device_id = -1",
         "target.device_id: must be at least 0 and below 2^64"),
        ('flows = "policy.flows"', 'flow = "policy.flows"', None),
        ("id = 1", 'id = "1"', "vport.id: must be a whole number, not the string '1'"),
        ('kind = "uplink"', 'kind = "pf"',
         "vport.kind: the string 'pf' is not valid; one of: vf, uplink"),
        ("port = 1", "port = 1\nvlan = 4095", "vport: vport 'vm1': vlan 4095 is not in 1 to 4094"),
    ],
)  # fmt: skip
def test_one_wrong_value(tmp_path: Path, old: str, new: str, message: str | None) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    found = problems(path)
    if message is None:
        at = line_of(path, 'flow = "policy.flows"')
        assert f"{at}: pipeline.flow: unknown key; did you mean 'flows'?" in found
        assert f"{at - 1}: pipeline.flows: missing" in found
    else:
        assert [f.partition(": ")[2] for f in found] == [message]
        wanted = new.splitlines()[-1] if "vlan" not in new else "[[vport]]"
        assert found[0].startswith(f"{line_of(path, wanted)}: ")


def test_a_large_election_id_is_taken(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    large = (1 << 128) - 1
    path.write_text(path.read_text().replace("[target]", f"[target]\nelection_id = {large}"))
    assert load(path).target.election_id == large


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write_config(
        tmp_path, more="[log]\nlevel = 3\nfil = 'x'\n[offload]\ncapacity = 'x'\nmode = 'y'\n[x]\n"
    )
    path.write_text(path.read_text().replace("eswitch.json", "nowhere.json"))
    found = problems(path)
    places = [int(line.partition(":")[0]) for line in found]
    assert places == sorted(places)
    names = [line.split(": ")[1] for line in found]
    assert names == [
        "program.json", "log.level", "log.fil", "offload.capacity", "offload.mode", "x"
    ]  # fmt: skip


def test_a_missing_section_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p4ct.toml"
    path.write_text("")
    assert problems(path) == [
        "1: program.p4info: missing",
        "1: program.json: missing",
        "1: pipeline.flows: missing",
        "1: vport: missing; without a [[vport]] the eswitch has no port",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vport]\nid = 1\n", "1: vport: must be written [[vport]], once for each vport"),
        ("target = 5\n", "1: target: must be a table, not 5"),
        ("policer = 5\n", "1: policer: must be a table, not 5"),
    ],
)
def test_a_section_of_the_wrong_kind(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p4ct.toml"
    path.write_text(text)
    assert message in problems(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[target]\nport == 1\n", "2:7: not valid TOML: Invalid value"),
        ("[target\n", "1:8: not valid TOML: Expected ']' at the end of a table declaration"),
        ("[log]\n[log]\n", "2:5: not valid TOML: Cannot declare ('log',) twice"),
        ("a = ", "1: not valid TOML: Invalid value"),
    ],
)
def test_bad_toml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p4ct.toml"
    path.write_text(text)
    assert problems(path) == [message]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml") == [" cannot be read: No such file or directory"]
    assert problems(tmp_path) == [" cannot be read: Is a directory"]
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"a = '\xff'")
    assert problems(binary) == [" is not UTF-8 text (byte 5)"]


def test_a_program_that_is_a_directory(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("/eswitch.json", ""))
    (found,) = problems(path)
    assert found.endswith("p4src/compiled is not a file")


def test_places_of_every_way_to_write_a_key() -> None:
    places = Places("top = 1\n[a]\nx = 1\nb.y = 2\n[a.'c']\nz = 3\n[[v]]\nid = 1\n[[v]]\nid = 2\n")
    wanted = {"top": 1, "a": 2, "a.x": 3, "a.b.y": 4, "a.b": 4, "a.c.z": 6, "a.none": 2, "q.r": 1}
    assert {name: places.line(name) for name in wanted} == wanted
    assert [places.line("v.id", n) for n in (0, 1)] == [8, 10]
    assert places.line("v.name", 1) == 9
    nested = Places("[[v]]\nid = 1\n[v.t]\nx = 1\n[[v]]\n[v.t]\nx = 2\n[w.t]\nx = 3\n")
    assert [nested.line("v.t.x", n) for n in (0, 1)] == [4, 7]
    assert nested.line("w.t.x") == 9


def test_every_section_has_a_default_or_is_required() -> None:
    required = {field.name for field in msgspec.structs.fields(File) if field.required}
    assert required == {"program", "pipeline", "vport"}


VXLAN = """
[[vport]]
id = 4
name = "tunnel"
port = 3
mtu = 1450
[vport.vxlan]
vni = 7
local = "192.0.2.1"
remote = "192.0.2.2"
outer_eth_src = "02:00:00:00:00:01"
outer_eth_dst = "02:00:00:00:00:02"
"""


def test_a_vport_in_vxlan(tmp_path: Path) -> None:
    config = load(write_config(tmp_path, more=VXLAN))
    assert config.ports.by_id[4].mtu == 1450
    assert config.ports.tunnels[4].vni == 7
    assert config.ports.tunnel_ends == {(bytes([192, 0, 2, 1]), 7): 4}
    assert config.router == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vni = 7", "vnid = 7", "vport.vxlan.vnid: unknown key; did you mean 'vni'?"),
        ("vni = 7", "vni = '7'", "vport.vxlan.vni: must be a whole number, not the string '7'"),
    ],
)
def test_mistakes_in_a_tunnel(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_config(tmp_path, more=VXLAN.replace(old, new))
    assert f"{line_of(path, new)}: {message}" in problems(path)


def test_a_tunnel_that_cannot_be(tmp_path: Path) -> None:
    path = write_config(tmp_path, more=VXLAN.replace("192.0.2.2", "fd00::2"))
    (found,) = problems(path)
    assert found.endswith("vxlan: local 192.0.2.1 and remote fd00::2 differ in family")
    more = VXLAN.partition("[vport.vxlan]")[0] + "vxlan = 5\n"
    path = write_config(tmp_path, more=more)
    assert problems(path) == [f"{line_of(path, 'vxlan = 5')}: vport.vxlan: must be a table, not 5"]


def test_router_addresses(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    text = path.read_text()
    flows = 'flows = "policy.flows"'

    def write(four: str, six: str) -> None:
        keys = f'router_address_v4 = "{four}"\nrouter_address_v6 = "{six}"'
        path.write_text(text.replace(flows, f"{flows}\n{keys}"))

    write("10.0.0.254", "fd00::fe")
    wanted = {4: bytes([10, 0, 0, 254]), 6: b"\xfd" + bytes(14) + b"\xfe"}
    assert load(path).router == wanted
    write("10.0.0.300", "10.0.0.1")
    first = line_of(path, flows) + 1
    assert problems(path) == [
        f"{first}: pipeline.router_address_v4: not an IPv4 or IPv6 address: '10.0.0.300'",
        f"{first + 1}: pipeline.router_address_v6: '10.0.0.1' is not an IPv6 address",
    ]


def test_timeout_policies_are_words_for_flows(tmp_path: Path) -> None:
    more = "[conntrack.timeouts]\nudp = 7\n[conntrack.timeout_policy.dns]\nudp_stream = 8\n"
    config = load(write_config(tmp_path, more=more))
    assert config.timeouts.policies.keys() == {"dns"}
    mine = config.timeouts.of(0, "dns")
    assert (mine.udp, mine.udp_stream, mine.icmp) == (7, 8, 30)


def test_limits_of_zones(tmp_path: Path) -> None:
    text = """
[conntrack.limits]
per_source = 100
unreplied = 50

[conntrack.zone.7]
udp = 5
per_source = 0
connections = 1000
"""
    limits = load(write_config(tmp_path, more=text)).limits
    assert limits.for_zone(1) == limits
    assert (limits.connections, limits.unreplied, limits.per_source) == (None, 50, 100)
    assert limits.for_zone(7) == Limits(connections=1000, unreplied=50, per_source=None)
