"""Finishes a bill of materials: takes this machine's paths out, and adds what the box loads beside its crates: ONNX Runtime,
GStreamer, SQLite as it is built in, and the models with their hashes."""

import hashlib
import json
import os
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path.cwd()


def sqlite_version() -> str:
    """Of the source that libsqlite3-sys carries."""
    with open("Cargo.lock", "rb") as lock:
        packages = tomllib.load(lock)["package"]
    version = next(package["version"] for package in packages if package["name"] == "libsqlite3-sys")
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    header = next(home.glob(f"registry/src/*/libsqlite3-sys-{version}/sqlite3/sqlite3.h"))
    return re.search(r'#define SQLITE_VERSION\s+"([^"]+)"', header.read_text()).group(1)


def component(kind: str, name: str, licence: str, **more: object) -> dict:
    """With a licence in words: not every one of these is an SPDX expression."""
    return {
        "type": kind,
        "bom-ref": f"beside#{name}",
        "name": name,
        "licenses": [{"license": {"name": licence}}],
        **more,
    }


def beside(program: str) -> list[dict]:
    """What the program is built with, shipped with, or runs on."""
    found = [component("library", "sqlite", "Public domain", version=sqlite_version())]
    if program == "edge-agent":
        setup = pathlib.Path("scripts/setup.sh").read_text(encoding="utf-8")
        runtime = re.search(r"onnxruntime_version=(\S+)", setup).group(1)
        found.append(component("library", "onnxruntime", "MIT", version=runtime))
        found.append(component("framework", "gstreamer", "LGPL-2.1-or-later", version="1.22 or later, of the system"))
        found += [model(file) for file in sorted(pathlib.Path("models").glob("*/*.onnx"))]
    return found


def model(file: pathlib.Path) -> dict:
    about = tomllib.loads((file.parent / "model.toml").read_text(encoding="utf-8"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return component("machine-learning-model", about["name"], about["licence"], hashes=hashes)


def main() -> None:
    draft, program = sys.argv[1:]
    text = pathlib.Path(draft).read_text(encoding="utf-8").replace(f"file://{ROOT}", "file://.")
    bill = json.loads(text)
    extra = beside(program)
    bill["components"] += extra
    bill["dependencies"][0]["dependsOn"] += [one["bom-ref"] for one in extra]
    json.dump(bill, sys.stdout, indent=1, ensure_ascii=False)


main()
