"""Limits on the structure of the package; ``python tests/helpers/structure.py`` prints the measures."""

from __future__ import annotations

import pytest

from helpers import structure

SHARED_FILE_NAMES = 45
COMMENTS_PER_100_LINES = 3.0
LINES_OF_A_MODULE = 400
FILES_FROM_NAME_TO_MODEL = 15
FILES_FROM_VIDEO_TO_FEATURE_FILE = 31


def test_few_files_share_a_name() -> None:
    shared = structure.shared_names()
    assert sum(map(len, shared.values())) <= SHARED_FILE_NAMES, sorted(shared)


def test_no_two_public_classes_share_a_name() -> None:
    assert not structure.shared_classes()


def test_code_is_commented() -> None:
    assert structure.comment_density(structure.modules()) >= COMMENTS_PER_100_LINES


def test_modules_stay_small() -> None:
    lengths = {path: structure.count_lines([path]) for path in structure.modules()}
    largest = max(lengths, key=lambda path: lengths[path])
    assert lengths[largest] < LINES_OF_A_MODULE, largest


@pytest.mark.parametrize(
    ("call", "limit"),
    [
        pytest.param(structure.LOAD, FILES_FROM_NAME_TO_MODEL, id="name-to-model"),
        pytest.param(structure.EXTRACT, FILES_FROM_VIDEO_TO_FEATURE_FILE, id="video-to-feature-file"),
    ],
)
def test_a_call_runs_through_few_files(call: tuple[str, str], limit: int) -> None:
    before, code = call
    files = structure.files_run(code, before)
    assert len(files) <= limit, "\n".join(files)
