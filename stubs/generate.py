#!/usr/bin/env python3
"""Generate P4Runtime stubs for the installed protobuf from the ``p4runtime`` package's descriptors.

The Python modules that the ``p4runtime`` package ships were made by an old protoc and do not load
on a current protobuf.  The serialized file descriptors inside them are sound, so they are read
*without importing the modules* (their syntax tree is searched for byte strings), renamed under our
own package and handed to protoc as a descriptor set.  No ``.proto`` file is needed or copied.

Only the file names change; the protobuf package stays ``p4.v1``, and with it the gRPC service
name on the wire.

    python stubs/generate.py            generate when missing or out of date
    python stubs/generate.py --force    generate always
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import shutil
import sys
import tempfile
from pathlib import Path

from google.protobuf import any_pb2, descriptor_pb2
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_tools import protoc

PACKAGE = "p4rt_stubs"
#: The files of the p4runtime distribution that are needed, in dependency order.
SOURCES = (
    "p4/config/v1/p4types_pb2.py",
    "p4/config/v1/p4info_pb2.py",
    "p4/v1/p4data_pb2.py",
    "p4/v1/p4runtime_pb2.py",
)


def embedded_descriptor(source: Path) -> descriptor_pb2.FileDescriptorProto:
    """The FileDescriptorProto inside a generated ``*_pb2.py``; the longest that parses wins."""
    tree = ast.parse(source.read_bytes(), filename=str(source))
    literals = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    ]
    for literal in sorted(literals, key=len, reverse=True):
        found = descriptor_pb2.FileDescriptorProto()
        try:
            found.ParseFromString(literal)
        except DecodeError:
            continue
        if found.name.endswith(".proto"):
            return found
    raise SystemExit(f"error: no file descriptor inside {source}; reinstall the p4runtime package")


def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """P4Runtime's files under our names, preceded by the Google files they import."""
    result = descriptor_pb2.FileDescriptorSet()
    for module in (any_pb2, status_pb2):
        module.DESCRIPTOR.CopyToProto(result.file.add())
    try:
        distribution = importlib.metadata.distribution("p4runtime")
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(
            "error: the p4runtime package is not installed; run 'make setup'"
        ) from None
    for name in SOURCES:
        found = embedded_descriptor(Path(str(distribution.locate_file(name))))
        found.name = f"{PACKAGE}/{found.name}"
        for i, dependency in enumerate(found.dependency):
            if dependency.startswith("p4/"):
                found.dependency[i] = f"{PACKAGE}/{dependency}"
        result.file.append(found)
    return result


def stamp() -> str:
    """What the output depends on: the versions of the three packages and this file."""
    names = ("p4runtime", "grpcio-tools", "protobuf")
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    return "\n".join([*versions, Path(__file__).read_text(encoding="utf-8")])


def generate(out: Path) -> None:
    """Write the modules and their type stubs below ``out``/p4rt_stubs."""
    files = descriptor_set()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "p4runtime.binpb"
        path.write_bytes(files.SerializeToString())
        targets = [f.name for f in files.file if f.name.startswith(PACKAGE)]
        code = protoc.main(
            [
                "protoc",
                f"--descriptor_set_in={path}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                *targets,
            ]
        )
    if code != 0:
        raise SystemExit(f"error: protoc exited with {code}")
    root = out / PACKAGE / "p4"
    for folder in (root, *(p for p in root.rglob("*") if p.is_dir())):
        (folder / "__init__.py").touch()
    # Only the P4Runtime service has methods; protoc writes empty files for the others.
    for grpc_file in root.rglob("*_pb2_grpc.py"):
        if "class " not in grpc_file.read_text(encoding="utf-8"):
            grpc_file.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--force", action="store_true", help="generate even when up to date")
    arguments = parser.parse_args()
    out = Path(__file__).resolve().parent
    marker = out / PACKAGE / "p4" / ".stamp"
    if not arguments.force and marker.exists() and marker.read_text(encoding="utf-8") == stamp():
        return 0
    shutil.rmtree(marker.parent, ignore_errors=True)
    generate(out)
    marker.write_text(stamp(), encoding="utf-8")
    print(f"generated P4Runtime stubs in {marker.parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
