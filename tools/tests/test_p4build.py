# SPDX-License-Identifier: Apache-2.0
"""The drift check: what is committed in p4src/compiled is what the sources give."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tools import p4build

P4SRC = Path(__file__).resolve().parent.parent.parent / "p4src"

#: Stands for p4c: prints a version, and "compiles" by copying the files of $FAKE_OUTPUT.
FAKE_COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo "p4c-bm2-ss"; echo "Version $FAKE_VERSION (SHA: x)"; exit 1; fi
while [ $# -gt 1 ]; do
    case $1 in
    --p4runtime-files) cp "$FAKE_OUTPUT/eswitch.p4info.txtpb" "$2"; shift ;;
    -o) cp "$FAKE_OUTPUT/eswitch.json" "$2"; shift ;;
    esac
    shift
done
case $1 in /*) echo "absolute path: $1" >&2; exit 1 ;; esac
test -e "$1"
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the program with its committed output."""
    return Path(shutil.copytree(P4SRC, tmp_path / "p4src"))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, copy: Path) -> Path:
    """A compiler of the manifest's version that gives the output in the folder returned."""
    folder, output = tmp_path / "bin", tmp_path / "output"
    folder.mkdir()
    shutil.copytree(copy / "compiled", output)
    program = folder / p4build.COMPILER
    program.write_text(FAKE_COMPILER, encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_OUTPUT", str(output))
    manifest = (copy / "compiled" / p4build.MANIFEST).read_text(encoding="utf-8")
    monkeypatch.setenv("FAKE_VERSION", manifest.split('"p4c": "')[1].split('"')[0])
    return output


def test_the_committed_output_belongs_to_the_sources() -> None:
    assert p4build.check(P4SRC) == 0


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("name", ["eswitch.p4", "stages/trap.p4", "include/ids.p4"])
def test_a_changed_source_is_found(copy: Path, name: str) -> None:
    with (copy / name).open("a", encoding="utf-8") as source:
        source.write("// changed\n")
    with pytest.raises(p4build.BuildError, match=f"{name}: changed since it was compiled") as found:
        p4build.check(copy)
    assert "make p4" in str(found.value)


@pytest.mark.usefixtures("no_compiler")
def test_a_new_and_a_lost_source_are_found(copy: Path) -> None:
    (copy / "stages" / "trap.p4").rename(copy / "stages" / "snare.p4")
    with pytest.raises(p4build.BuildError) as found:
        p4build.check(copy)
    assert "stages/snare.p4: not in the manifest" in str(found.value)
    assert "stages/trap.p4: in the manifest, but gone" in str(found.value)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("name", p4build.outputs_of(p4build.ROOT / "p4src"))
def test_output_edited_by_hand_is_found(copy: Path, name: str) -> None:
    with (copy / "compiled" / name).open("a", encoding="utf-8") as output:
        output.write("\n")
    with pytest.raises(p4build.BuildError, match=f"compiled/{name}: changed"):
        p4build.check(copy)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("text", [None, "not JSON", "{}"])
def test_a_manifest_that_is_lost_or_broken_is_named(copy: Path, text: str | None) -> None:
    manifest = copy / "compiled" / p4build.MANIFEST
    manifest.unlink() if text is None else manifest.write_text(text, encoding="utf-8")
    with pytest.raises(p4build.BuildError, match=r"manifest\.json: not usable"):
        p4build.check(copy)


@pytest.mark.usefixtures("no_compiler")
def test_without_p4c_the_check_says_that_it_did_not_compile(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert p4build.check(copy) == 0
    assert "not compiled again: p4c-bm2-ss is not on the PATH" in capsys.readouterr().out


@pytest.mark.usefixtures("no_compiler")
def test_without_p4c_building_says_what_to_do(copy: Path) -> None:
    with pytest.raises(p4build.BuildError, match="not on the PATH; it is needed only to change"):
        p4build.build(copy)


def test_p4c_with_other_output_is_found(copy: Path, compiler: Path) -> None:
    (compiler / "eswitch.json").write_text("{}", encoding="utf-8")
    with pytest.raises(p4build.BuildError, match=r"makes other output .*: eswitch\.json"):
        p4build.check(copy)


@pytest.mark.usefixtures("compiler")
def test_p4c_with_the_same_output_agrees(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert p4build.check(copy) == 0
    assert "the output of p4c" in capsys.readouterr().out


@pytest.mark.usefixtures("compiler")
def test_another_version_of_p4c_is_not_compared(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_VERSION", "9.9.9")
    monkeypatch.setenv("FAKE_OUTPUT", "/nonexistent")
    assert p4build.check(copy) == 0
    assert "p4c here is 9.9.9" in capsys.readouterr().out


@pytest.mark.usefixtures("compiler")
def test_building_brings_a_changed_source_back_into_agreement(copy: Path) -> None:
    with (copy / "eswitch.p4").open("a", encoding="utf-8") as source:
        source.write("// changed\n")
    assert p4build.build(copy) == 0
    assert p4build.check(copy) == 0
    assert str(copy) not in (copy / "compiled" / p4build.MANIFEST).read_text(encoding="utf-8")
