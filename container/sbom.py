"""Write a software bill of materials (CycloneDX, JSON): what the image holds, for scanners of known faults.

    sbom.py PYTHON OUT

Python's packages are those of the environment of PYTHON, with licences and dependencies; Debian's, and Python itself,
those of the system that this runs on, which is the base of the image. Checked against the schema before it is written.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def python_packages(python: str) -> dict[str, Any]:
    """The bill of materials of an environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible",
               "--no-validate", "--sv", "1.6", python]  # fmt: skip
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def system_packages() -> list[dict[str, Any]]:
    """Python, and Debian's packages where this is Debian."""
    version = platform.python_version()
    python = {"name": "cpython", "version": version, "purl": f"pkg:generic/cpython@{version}",
              "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"}  # fmt: skip
    names = [python]
    if Path("/var/lib/dpkg/status").is_file():
        distribution = f"debian-{platform.freedesktop_os_release().get('VERSION_ID', 'unknown')}"
        fields = "${Package} ${Version} ${Architecture}\n"
        listed = subprocess.run(["dpkg-query", "-W", "-f", fields], stdout=subprocess.PIPE, text=True, check=True)
        for line in listed.stdout.splitlines():
            name, number, machine = line.split()
            escaped = number.replace("%", "%25").replace("+", "%2B").replace(":", "%3A")
            purl = f"pkg:deb/debian/{name.replace('+', '%2B')}@{escaped}?arch={machine}&distro={distribution}"
            names.append({"name": name, "version": number, "purl": purl})
    return [{"bom-ref": item["purl"], "type": "library", **item} for item in names]


def main(python: str, out: Path) -> None:
    """Join both and write them."""
    bill = python_packages(python)
    (version,) = (item["version"] for item in bill["components"] if item["name"] == "bids_hypo")
    ref = f"bids_hypo-image@{version}"
    bill["metadata"]["component"] = {"bom-ref": ref, "type": "container", "name": "bids_hypo", "version": version}
    bill["components"] += system_packages()
    bill["dependencies"].append({"ref": ref, "dependsOn": [item["bom-ref"] for item in bill["components"]]})
    text = json.dumps(bill, indent=1, sort_keys=True) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"the bill of materials does not fit the schema of CycloneDX 1.6: {wrong}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
