"""Manifests without what a check found."""

from __future__ import annotations

from pathlib import Path

from endofm.data.check import CheckReport
from endofm.data.clip_files import find_sets
from endofm.data.manifest import MANIFEST_NAME, read_manifest, write_manifest

CLEAN_NAME = "clean.csv"


def write_clean(report: CheckReport) -> list[tuple[Path, int, int]]:
    """Write ``clean.csv`` beside each manifest of the checked folder; the manifest itself and all files stay.

    Left out are clips that are missing or damaged, all but one of several equal files, and clips that show what the
    other data show which were checked against. Similar clips within the folder stay: keep them on one side of a split.

    Args:
        report: From :func:`~endofm.data.check.check`.

    Returns:
        For each set the file, the number of clips in it, and the number that was left out.
    """
    written = []
    sets = [folder for folder in find_sets(Path(report.folder)) if (folder / MANIFEST_NAME).is_file()]
    own = {(folder / row.path).as_posix() for folder in sets for row in read_manifest(folder / MANIFEST_NAME)}
    bad: set[str] = set()
    for finding in report.findings:
        if finding.kind in ("missing", "damaged"):
            bad.add(finding.clip)
        elif finding.kind == "duplicate":
            bad.add(finding.other)
        elif finding.kind == "overlap" and finding.other not in own:
            bad.add(finding.clip)
    for folder in sets:
        rows = read_manifest(folder / MANIFEST_NAME)
        good = [row for row in rows if (folder / row.path).as_posix() not in bad]
        write_manifest(folder / CLEAN_NAME, good)
        written.append((folder / CLEAN_NAME, len(good), len(rows) - len(good)))
    return written
