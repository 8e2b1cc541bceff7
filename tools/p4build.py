# SPDX-License-Identifier: Apache-2.0
"""Compile our P4 programs with the p4c on the PATH, and check that the committed output is theirs.

    tools/p4build.py           compile into p4src/compiled/ and write the manifest
    tools/p4build.py --p4src bench/p4    the same for the program of another folder
    tools/p4build.py --check   fail when sources, output and manifest disagree; where p4c is on the
                               PATH with the manifest's version, also when its output differs

The program is the one P4 file at the top of its folder.  The compiler runs inside that folder with
relative paths, so that the output names no path of the machine it was made on.  The manifest holds
the p4c version and the SHA-256 of every source and output file; a version other than the manifest's
is not compared, because every p4c release words its output differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMPILER = "p4c-bm2-ss"
MANIFEST = "manifest.json"
ROOT = Path(__file__).resolve().parent.parent
#: Flags that decide the output; the output names are added by compile_program.
FLAGS = ("--std", "p4-16", "--arch", "v1model")


class BuildError(Exception):
    """Something is wrong with the compiler or its input; the text says what to do."""


def program_of(folder: Path) -> str:
    """The file name of the program of a folder, without its suffix."""
    found = sorted(folder.glob("*.p4"))
    if len(found) != 1:
        raise BuildError(f"{folder}: one P4 program is expected here, not {len(found)}")
    return found[0].stem


def outputs_of(folder: Path) -> tuple[str, str]:
    """Names of the JSON and of P4Info."""
    program = program_of(folder)
    return f"{program}.json", f"{program}.p4info.txtpb"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every P4 source below `folder`, by its path relative to it."""
    files = sorted(path for path in folder.rglob("*.p4") if "compiled" not in path.parts)
    if not files:
        raise BuildError(f"{folder}: no P4 sources here")
    return {path.relative_to(folder).as_posix(): digest(path) for path in files}


def compiler_version() -> str | None:
    """The version that the compiler on the PATH prints, None when there is none."""
    if shutil.which(COMPILER) is None:
        return None
    done = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=False)
    words = (done.stdout + " " + done.stderr).split()
    # Releases differ in the stream they print to and in the exit code.
    if "Version" not in words[:-1]:
        raise BuildError(
            f"'{COMPILER} --version' failed: {done.stderr.strip() or done.stdout.strip()}\n"
            "its libraries or include files may be missing; reinstall p4c"
        )
    return words[words.index("Version") + 1]


def compile_program(folder: Path, into: Path) -> None:
    """Run the compiler in `folder`; its JSON and P4Info appear in `into`."""
    json_path, p4info_path = (into / name for name in outputs_of(folder))
    command = [COMPILER, *FLAGS, "--p4runtime-files", str(p4info_path), "-o", str(json_path)]
    done = subprocess.run(
        [*command, f"{program_of(folder)}.p4"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr:
        print(done.stderr.rstrip(), file=sys.stderr)
    if done.returncode != 0:
        raise BuildError(
            f"{COMPILER} rejects {folder / program_of(folder)}.p4; its messages are above"
        )


def same_program(ours: Path, theirs: Path) -> bool:
    """True when two outputs are the same; JSON is compared as data, P4Info as text."""
    if ours.suffix == ".json":
        return json.loads(ours.read_bytes()) == json.loads(theirs.read_bytes())
    return ours.read_bytes() == theirs.read_bytes()


def build(folder: Path) -> int:
    """Compile into `folder`/compiled and write the manifest."""
    version = compiler_version()
    if version is None:
        raise BuildError(
            f"{COMPILER} is not on the PATH; it is needed only to change the P4 program\n"
            "build p4c (backend bmv2) from its sources and put its folder on the PATH; without it\n"
            "use the committed output in p4src/compiled/"
        )
    compiled = folder / "compiled"
    compiled.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        compile_program(folder, Path(scratch))
        for name in outputs_of(folder):
            shutil.copyfile(Path(scratch) / name, compiled / name)
    manifest = {
        "p4c": version,
        "command": [COMPILER, *FLAGS, f"{program_of(folder)}.p4"],
        "sources": source_digests(folder),
        "outputs": {name: digest(compiled / name) for name in outputs_of(folder)},
    }
    (compiled / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    print(f"{compiled}: {', '.join(outputs_of(folder))} by p4c {version}")
    return 0


def differences(recorded: dict[str, str], found: dict[str, str]) -> list[str]:
    """One line for each file that is new, gone or different from what the manifest records."""
    lines = [f"{name}: not in the manifest" for name in found if name not in recorded]
    lines += [f"{name}: in the manifest, but gone" for name in recorded if name not in found]
    lines += [
        f"{name}: changed since it was compiled"
        for name in found
        if name in recorded and recorded[name] != found[name]
    ]
    return lines


def check(folder: Path) -> int:
    """Compare sources, output and manifest, and the compiler's output where that is possible."""
    compiled = folder / "compiled"
    remedy = "run 'make p4' and commit p4src/compiled/; never edit its files by hand"
    try:
        manifest: dict[str, Any] = json.loads((compiled / MANIFEST).read_bytes())
        recorded_version, sources, outputs = (manifest[k] for k in ("p4c", "sources", "outputs"))
    except (OSError, ValueError, KeyError) as error:
        raise BuildError(f"{compiled / MANIFEST}: not usable ({error})\n{remedy}") from error
    problems = differences(sources, source_digests(folder))
    names = outputs_of(folder)
    found = {name: digest(compiled / name) for name in names if (compiled / name).exists()}
    problems += [f"compiled/{line}" for line in differences(outputs, found)]
    if problems:
        raise BuildError(
            "\n".join([f"{folder.name} and {compiled / MANIFEST} disagree", *problems, remedy])
        )
    version = compiler_version()
    if version is None:
        print(f"sources and manifest agree; not compiled again: {COMPILER} is not on the PATH")
        return 0
    if version != recorded_version:
        print(
            f"sources and manifest agree; not compiled again: p4c here is {version}, "
            f"the output was made by {recorded_version}"
        )
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        compile_program(folder, Path(scratch))
        changed = [n for n in names if not same_program(compiled / n, Path(scratch) / n)]
    if changed:
        raise BuildError(
            f"p4c {version} makes other output than what is committed: {', '.join(changed)}\n"
            f"{remedy}"
        )
    print(f"sources, manifest and the output of p4c {version} agree")
    return 0


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compile the P4 program, or check its output.")
    parser.add_argument("--check", action="store_true", help="compare only, change nothing")
    parser.add_argument(
        "--p4src",
        type=Path,
        default=ROOT / "p4src",
        help="folder of the program (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        return check(arguments.p4src) if arguments.check else build(arguments.p4src)
    except BuildError as error:
        print("error: " + str(error).replace("\n", "\n       "), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
