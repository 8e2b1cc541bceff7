# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, as the user sees it: exit code, and a message with what, where and what to do.

Every test runs the p4ct command; none may show a traceback.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ..daemon.bench import COMPILED, SCRIPTS, softswitch, write_config

pytestmark = pytest.mark.timeout(180)


def p4ct(*words: object, cwd: Path, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = subprocess.run(
        [SCRIPTS / "p4ct", *map(str, words)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=90,
        env={**os.environ, "P4CT_SOCKET": "p4ct.sock"},
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert "Traceback" not in out + err
    assert "internal error" not in err
    return done.returncode, out, err


class Running:
    """A controller as a process, ready or ended."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [SCRIPTS / "p4ct", "run", "-c", config], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []

    def wait_for(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if words in line:
                return
        raise AssertionError(f"never said {words!r}: {self.said}")

    def stop(self) -> int:
        self.process.terminate()
        _, rest = self.process.communicate(timeout=30)
        self.said.append(rest)
        assert "Traceback" not in "".join(self.said)
        return self.process.returncode


@pytest.fixture(scope="module")
def target():
    with softswitch() as (address, _):
        yield address


@pytest.fixture
def controller(tmp_path: Path, target: str):
    running = Running(tmp_path, write_config(tmp_path, target))
    running.wait_for("switch ready")
    yield running
    running.stop()


# -- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["check-config"], ["run", "-c"]])
def test_a_toml_typo(tmp_path: Path, command: list[str]) -> None:
    path = write_config(tmp_path, more="[log]\nlevel == 'info'\n")
    code, out, err = p4ct(*command, path, cwd=tmp_path)
    assert (code, out) == (2, "")
    line = path.read_text().splitlines().index("level == 'info'") + 1
    assert err.startswith(f"{path}:{line}:8: not valid TOML: ")
    assert err.endswith(f"1 error in {path}\n")


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    path = write_config(tmp_path, more="[log]\nlvel = 'info'\n[offload]\ncapacity = -3\n")
    code, _, err = p4ct("check-config", path, cwd=tmp_path)
    assert code == 2
    assert "log.lvel: unknown key; did you mean 'level'?" in err
    assert err.endswith(f"2 errors in {path}\n")


def test_an_unknown_flow_token(tmp_path: Path) -> None:
    path = write_config(tmp_path, policy="arp,actions=NORMAL\ntcp,tp_dts=80,actions=drop\n")
    code, _, err = p4ct("run", "-c", path, cwd=tmp_path)
    assert code == 2
    assert err.startswith(f"{tmp_path}/policy.flows:2:5: ")
    assert "did you mean 'tp_dst'?" in err
    assert "    tcp,tp_dts=80,actions=drop\n        ^" in err


def test_a_vport_that_is_not_configured(tmp_path: Path) -> None:
    path = write_config(tmp_path, policy="in_port=vm9,actions=drop\n")
    code, _, err = p4ct("check-config", path, cwd=tmp_path)
    assert code == 2
    assert "vm9" in err
    assert "vm1" in err, "the names that there are"


def test_a_timeout_policy_that_is_not_configured(tmp_path: Path) -> None:
    more = "[conntrack.timeout_policy.dns]\nudp = 5\n"
    policy = "ip,actions=ct(commit,timeout=dns),vm1\n"
    assert (
        p4ct("check-config", write_config(tmp_path, more=more, policy=policy), cwd=tmp_path)[0] == 0
    )
    path = write_config(tmp_path, more=more, policy=policy.replace("dns", "dsn"))
    code, _, err = p4ct("check-config", path, cwd=tmp_path)
    assert code == 2
    assert err.startswith(f"{tmp_path}/policy.flows:1:30: there is no timeout policy 'dsn'")
    assert "did you mean 'dns'?" in err


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def apply(folder: Path) -> Path:
        path = write_config(folder)
        (folder / name).write_bytes(change((COMPILED / name).read_bytes()))
        path.write_text(path.read_text().replace(str(COMPILED / name), str(folder / name)))
        return path

    return apply


P4INFO, JSON = "eswitch.p4info.txtpb", "eswitch.json"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (edit(P4INFO, lambda d: d.replace(b'"ct_v6"', b'"ct_v7"')), "ct_v6"),
        (edit(P4INFO, lambda d: d.replace(b'version: "2.', b'version: "3.')), "3."),
        (edit(P4INFO, lambda d: b"hello"), "is not P4Info"),
        (edit(P4INFO, lambda d: b""), "no table"),
        (edit(P4INFO, lambda d: b"\0\xff\xfe"), "is not P4Info"),
        (edit(JSON, lambda d: d[: len(d) // 2]), "not the JSON that p4c writes"),
        (edit(JSON, lambda d: b"\xff"), "not the JSON that p4c writes"),
    ],
)
def test_a_program_that_cannot_be_used(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    code, _, err = p4ct("run", "-c", make(tmp_path), cwd=tmp_path)
    assert code == 2
    assert err.startswith(f"{tmp_path}/eswitch.")
    assert said in err


def test_more_capacity_than_the_program_has(tmp_path: Path) -> None:
    path = write_config(tmp_path, more="[offload]\ncapacity = 70000\n")
    code, _, err = p4ct("check-config", path, cwd=tmp_path)
    assert code == 2
    line = path.read_text().splitlines().index("capacity = 70000") + 1
    assert err == (
        f"{path}:{line}: offload.capacity: 70000, but the program has room for 65536 connections\n"
    )


def test_flows_that_are_not_text(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    (tmp_path / "policy.flows").write_bytes(b"arp,actions=\xff\n")
    code, _, err = p4ct("check-config", path, cwd=tmp_path)
    assert (code, err) == (2, f"{tmp_path}/policy.flows: is not UTF-8 text (byte 12)\n")


def test_p4info_of_something_else(tmp_path: Path) -> None:
    code, _, err = p4ct("p4info", tmp_path / "none", cwd=tmp_path)
    assert code == 2
    assert "No such file or directory; compile the program" in err
    code, out, _ = p4ct("p4info", COMPILED / P4INFO, cwd=tmp_path)
    assert code == 0
    assert "ct_v4" in out


# -- starting ------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["", '[log]\nfile = "p4ct.log"\n'])
def test_a_target_that_is_not_there(tmp_path: Path, log: str) -> None:
    path = write_config(tmp_path, "127.0.0.1:9", more=log)
    code, out, err = p4ct("run", "-c", path, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err.count("target 127.0.0.1:9: no P4Runtime target within 0.3 s") == 1
    assert "start the target, or correct its address" in err
    if log:
        assert err.startswith("p4ct: target ")
        assert len(err.splitlines()) == 1, "nothing else, neither gRPC's words"
        assert "start the target" in (tmp_path / "p4ct.log").read_text()
    assert not (tmp_path / "p4ct.sock").exists()


def test_something_else_listens_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(b"220 mail.example ESMTP\r\n")
                client.close()

        threading.Thread(target=serve, daemon=True).start()
        code, _, err = p4ct("run", "-c", write_config(tmp_path, address), cwd=tmp_path)
        server.shutdown(socket.SHUT_RDWR)
    assert code == 1
    assert f"target {address}: no P4Runtime target within" in err


def test_a_program_that_the_target_refuses(tmp_path: Path) -> None:
    path = edit(JSON, lambda d: b'{"actions": []}')(tmp_path)
    with softswitch() as (address, _):
        path.write_text(path.read_text().replace("127.0.0.1:9", address))
        code, _, err = p4ct("run", "-c", path, cwd=tmp_path)
    assert code == 1
    assert f"target {address}: the program eswitch was not accepted: " in err


def test_a_second_controller_on_the_same_socket(controller: Running) -> None:
    folder = controller.folder
    code, _, err = p4ct("run", "-c", folder / "p4ct.toml", cwd=folder)
    assert code == 1
    assert f"{folder}/p4ct.sock: another p4ct answers there; stop it, or set admin.socket" in err
    code, _, _ = p4ct("status", cwd=folder)
    assert code == 0, "the first one goes on"


def test_no_permission_for_the_socket(tmp_path: Path) -> None:
    # /sys may not be written by anybody, root included.
    path = write_config(tmp_path, more='[admin]\nsocket = "/sys/p4ct.sock"\n')
    code, _, err = p4ct("run", "-c", path, cwd=tmp_path)
    assert code == 1
    line = path.read_text().splitlines().index('socket = "/sys/p4ct.sock"') + 1
    assert f"{path}:{line}: admin.socket: /sys/p4ct.sock: " in err
    assert "choose a place that may be written" in err


def test_no_permission_for_the_log(tmp_path: Path) -> None:
    path = write_config(tmp_path, more='[log]\nfile = "/sys/p4ct.log"\n')
    code, _, err = p4ct("run", "-c", path, cwd=tmp_path)
    assert code == 1
    line = path.read_text().splitlines().index('file = "/sys/p4ct.log"') + 1
    assert err.startswith(f"{path}:{line}: log.file: /sys/p4ct.log: ")
    assert err.endswith("; choose a file that may be written\n")


def test_sigterm_while_connecting_ends_at_once(tmp_path: Path) -> None:
    path = write_config(tmp_path, "127.0.0.1:9")
    path.write_text(path.read_text().replace("connect_timeout = 0.3", "connect_timeout = 300"))
    running = Running(tmp_path, path)
    running.wait_for("controller started")
    assert running.stop() == 0
    assert not (tmp_path / "p4ct.sock").exists()


def test_a_target_that_dies_is_reported_and_waited_for(tmp_path: Path) -> None:
    with softswitch() as (address, process):
        running = Running(tmp_path, write_config(tmp_path, address))
        running.wait_for("switch ready")
        process.kill()
        running.wait_for("switch lost: ")
        running.wait_for("start the target, or correct its address; next attempt in ")
        code, out, _ = p4ct("status", cwd=tmp_path)
        assert code == 0
        assert "NOT CONNECTED: counters may be old" in out
        for words in (["conntrack", "list"], ["offload", "list"], ["offload", "why"]):
            code, out, err = p4ct(*words, "--json", cwd=tmp_path)
            assert code == 0
            assert "warning" not in out
            assert err == (
                f"warning: the switch {address} is not connected: hardware counters are old\n"
            )
        assert running.stop() == 0
    words = "".join(running.said)
    assert f"switch={address}" in words


# -- commands ------------------------------------------------------------------------------


def test_no_controller(tmp_path: Path) -> None:
    code, out, err = p4ct("status", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "no controller: there is no socket p4ct.sock; start one with 'p4ct run'" in err


def test_a_controller_that_was_killed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "p4ct.sock"))
    code, _, err = p4ct("status", cwd=tmp_path)
    assert code == 1
    assert "the one that made it is gone, start it again" in err


@pytest.mark.parametrize("path", ["s" * 200, "/proc/version"])
def test_a_path_that_is_no_socket(tmp_path: Path, path: str) -> None:
    code, _, err = p4ct("--socket", path, "status", cwd=tmp_path)
    assert code == 1
    assert path in err


REFUSED = b'{"ok": false, "code": "%s", "error": "because"}\n'


@pytest.mark.parametrize(
    ("answer", "wanted", "exit_code"),
    [
        (b"", "ended before it answered", 1),
        (b'{"ok": tr', "ended before it answered", 1),
        (b"hello\n", "is not a p4ct controller", 1),
        (b"{}\n", "is not a p4ct controller", 1),
        (b"5\n", "is not a p4ct controller", 1),
        (REFUSED % b"UNAVAILABLE", "Error: because", 1),
        (REFUSED % b"INTERNAL", "Error: because", 1),
        (REFUSED % b"INVALID_ARGUMENT", "Error: because", 2),
    ],
)
def test_exit_codes_of_answers(tmp_path: Path, answer: bytes, wanted: str, exit_code: int) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "p4ct.sock"))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            client.recv(1000)
            client.sendall(answer)
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        code, _, err = p4ct("status", cwd=tmp_path)
        thread.join()
    assert code == exit_code
    assert wanted in err


def test_mistakes_in_commands(controller: Running) -> None:
    folder = controller.folder
    cases: list[tuple[list[str], str]] = [
        (["conntrack", "list", "dpor=80"], "did you mean 'dport'?"),
        (["conntrack", "flush", "tpc"], "did you mean 'tcp'?"),
        (["offload", "why", "src=1.2.3"], "'1.2.3' is no IPv4 or IPv6 address"),
        (["flows", "add", "tcp,actions=output:vm9"], "FLOW:1:20: "),
        (["flows", "add", ""], "there is no flow to add"),
        (["flows", "delete", "tpc"], "MATCH:1:1: "),
        (["flows", "replace", "none.flows"], "No such file or directory"),
        (["flows", "delete"], "Missing argument 'MATCH'"),
        (["explain", "tcp"], "missing: src, dst"),
        (["explain", "tcp", "src=10.0.0.1", "dst=10.0.0.3", "in_port=vm9"], "known: vm1, ext"),
        (["statsu"], "No such command 'statsu'"),
        (["status", "--jsn"], "No such option"),
    ]
    for words, said in cases:
        code, out, err = p4ct(*words, cwd=folder)
        assert (code, out) == (2, ""), words
        assert said in err, words
    code, _, err = p4ct("flows", "replace", "-", cwd=folder, stdin=b"arp,actions=\xff")
    assert code == 2
    assert "is not UTF-8 text (byte 12)" in err
    code, _, err = p4ct("flows", "replace", "-", cwd=folder, stdin=b"arp,actions=NORML")
    assert code == 2
    assert "<stdin>:1:13: " in err
    code, out, _ = p4ct("flows", "list", cwd=folder)
    assert len(out.splitlines()) == 6, "no mistake has changed anything"


def test_a_session_of_commands(controller: Running) -> None:
    folder = controller.folder
    (folder / "new.flows").write_text("table=0,priority=5,arp,actions=NORMAL\n")
    assert p4ct("flows", "replace", "new.flows", cwd=folder)[:2] == (
        0,
        "flows added: 1, removed: 6; in effect\n",
    )
    code, out, _ = p4ct("flows", "add", "priority=4,ip,actions=drop", "--json", cwd=folder)
    assert code == 0
    assert '"added": 1' in out
    code, out, _ = p4ct("flows", "delete", "arp", cwd=folder)
    assert out == "flows added: 0, removed: 1; in effect\n"
    assert p4ct("flows", "delete", "arp", cwd=folder)[:2] == (0, "no flow matches\n")
    code, out, _ = p4ct("conntrack", "list", cwd=folder)
    assert (code, out) == (0, "")
    assert p4ct("conntrack", "count", cwd=folder)[1] == "0\n"
    assert p4ct("conntrack", "flush", cwd=folder)[1] == "connections flushed: 0\n"
    assert p4ct("offload", "pending", "--json", cwd=folder)[1] == "[]\n"
    code, out, _ = p4ct("explain", "tcp", "src=10.0.0.1", "dst=10.0.0.3", "in_port=vm1", cwd=folder)
    assert code == 0
    assert "verdict:    drop: " in out
