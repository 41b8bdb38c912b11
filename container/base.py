"""Write the base image, by tag and digest, wherever it is named: ``make base TAG=...`` runs ``base.py TAG DIGEST``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

TAG, DIGEST = r"[\w][\w.-]*", r"sha256:[0-9a-f]{64}"
FILES = ("Dockerfile", "Singularity.def")


def renamed(text: str, tag: str, digest: str) -> str:
    """A text with another base image in it."""
    return re.sub(DIGEST, digest, re.sub(rf"python:{TAG}-slim-\w+", f"python:{tag}", text))


def main(tag: str, digest: str) -> None:
    """Change the files, unless what was given is no tag of a slim image or no digest."""
    if not re.fullmatch(rf"{TAG}-slim-\w+", tag) or not re.fullmatch(DIGEST, digest):
        sys.exit(f"found '{tag}' and '{digest}'; expected a tag such as 3.11.16-slim-bookworm and sha256:...")
    for name in FILES:
        path = Path(name)
        path.write_text(renamed(path.read_text("utf-8"), tag, digest), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
