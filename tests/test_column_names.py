"""Names of columns, and their table in the documentation."""

from __future__ import annotations

import pytest

from endofm.column_names import SYNONYMS, match_columns, normal_name
from helpers.paths import REPOSITORY


def test_the_documentation_lists_every_name() -> None:
    text = (REPOSITORY / "docs" / "data" / "lists.md").read_text(encoding="utf-8")
    for column, others in SYNONYMS.items():
        assert f"| `{column}` | {', '.join(f'`{other}`' for other in others)} |" in text


@pytest.mark.parametrize("text", ["patient_id", "Patient ID", '"patientId"', " PATIENT-ID ", "patient.id"])
def test_spelling_does_not_matter(text: str) -> None:
    assert normal_name(text) == "patient_id"


def test_a_name_of_its_own_excludes_synonyms() -> None:
    known = ("path", "label", "patient", "video")
    assert match_columns(["video", "class"], known) == {"path": (0,), "label": (1,)}
    assert match_columns(["video", "path"], known) == {"path": (1,), "video": (0,)}
    assert match_columns(["video", "filename"], known) == {"path": (1,), "video": (0,)}
    assert match_columns(["case", "path", "patient"], known) == {"path": (1,), "patient": (2, 0)}
