"""Judges what cargo-audit found: every vulnerability fails but the exceptions below, and every exception that is no longer
needed fails too, so that none outlives its reason. Warnings (unmaintained, yanked) are told."""

import datetime
import json
import pathlib
import re
import sys

WEBPKI = "rumqttc 0.25.1 names a type of it in its errors and calls nothing of it: TLS is verified by the rustls of this workspace"
# (advisory, crate, version): reason.
EXCEPTIONS = {
    ("RUSTSEC-2026-0049", "rustls-webpki", "0.102.8"): WEBPKI,
    ("RUSTSEC-2026-0098", "rustls-webpki", "0.102.8"): WEBPKI,
    ("RUSTSEC-2026-0099", "rustls-webpki", "0.102.8"): WEBPKI,
    ("RUSTSEC-2026-0104", "rustls-webpki", "0.102.8"): WEBPKI,
}


def newest(folder: str) -> datetime.date:
    """Day of the newest advisory in a copy of the database."""
    dates = []
    for file in pathlib.Path(folder).glob("crates/*/*.md"):
        found = re.search(r'^date = "(\d{4}-\d\d-\d\d)"', file.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            dates.append(datetime.date.fromisoformat(found.group(1)))
    return max(dates)


def main() -> int:
    report, folder, which = sys.argv[1:]
    found = json.loads(pathlib.Path(report).read_text(encoding="utf-8"))
    day = newest(folder)
    age = (datetime.date.today() - day).days
    count = found["database"]["advisory-count"]
    print(f"advisories: {count} in {which}; the newest is of {day}, {age} days ago")

    problems, needed = 0, set()
    for hit in found["vulnerabilities"]["list"]:
        advisory, package = hit["advisory"], hit["package"]
        key = (advisory["id"], package["name"], package["version"])
        if key in EXCEPTIONS:
            needed.add(key)
            continue
        problems += 1
        print(f"VULNERABLE {key[1]} {key[2]}: {advisory['title']} ({key[0]}); fixed in {hit['versions']['patched']}")
    for key in EXCEPTIONS.keys() - needed:
        problems += 1
        print(f"the exception {key} is not needed any more: take it out of {__file__}")
    for kind, warnings in sorted(found["warnings"].items()):
        for warning in warnings:
            package, advisory = warning["package"], warning.get("advisory") or {}
            print(f"{kind}: {package['name']} {package['version']} {advisory.get('id', '')} {advisory.get('title', '')}")
    for reason in sorted({EXCEPTIONS[key] for key in needed}):
        print(f"{sum(EXCEPTIONS[key] == reason for key in needed)} excepted: {reason}")
    return 1 if problems else 0


sys.exit(main())
