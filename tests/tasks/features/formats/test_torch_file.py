"""Features as a dictionary of tensors: read by torch's own safe loader, and nothing else is ever built."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from endofm.errors import FeatureFileError
from endofm.tasks.features.results import VideoFeatures
from helpers.made_features import made_features

STRINGS = {"format": "endofm-features", "format_version": "1", "provenance": "{}"}


class Opener:
    """What a pickle can do to whoever reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_torch_reads_tensors_and_strings(tmp_path: Path) -> None:
    features = made_features(5, provenance={"a": 1})
    content = torch.load(features.save(tmp_path / "a.pt"), weights_only=True)
    assert {name for name, value in content.items() if isinstance(value, str)} == set(STRINGS)
    for name, array in features.arrays().items():
        assert torch.equal(content[name], torch.from_numpy(array))


def test_a_part_of_features_holds_that_part_alone(tmp_path: Path) -> None:
    features = made_features(500, 64, level="clip")
    part = features[::100]
    path = part.save(tmp_path / "part.pt")
    assert path.stat().st_size < features.save(tmp_path / "all.pt").stat().st_size / 10
    assert np.array_equal(VideoFeatures.load(path).embeddings, part.embeddings)


def test_arrays_that_may_not_be_written_to_are_saved(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    features = made_features()
    features.embeddings.flags.writeable = False
    features.save(tmp_path / "a.pt")
    assert not [warning for warning in recwarn if "writ" in str(warning.message)]


def test_objects_are_refused_and_never_built(tmp_path: Path) -> None:
    path, trace = tmp_path / "a.pt", tmp_path / "trace"
    torch.save({**STRINGS, "embeddings": Opener(trace)}, path)
    with pytest.raises(FeatureFileError, match="was not read"):
        VideoFeatures.load(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "value",
    [
        [1.0],
        {"a": torch.zeros(1)},
        7,
        argparse.Namespace(a=1),
        torch.nn.Parameter(torch.zeros(1)),
        torch.zeros(3, 2).to_sparse(),
        torch.zeros(1).expand(10**12),
    ],
    ids=["list", "dict", "number", "object", "parameter", "sparse", "stride 0"],
)
def test_only_plain_tensors_and_strings_are_read(tmp_path: Path, value: object) -> None:
    torch.save({**STRINGS, "embeddings": value}, tmp_path / "a.pt")
    with pytest.raises(FeatureFileError, match="damaged"):
        VideoFeatures.load(tmp_path / "a.pt")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = made_features(50).save(tmp_path / "a.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeatureFileError, match="has changed"):
        VideoFeatures.load(path)


def test_what_swells_is_refused_before_it_is_read(tmp_path: Path) -> None:
    whole, bomb = made_features().save(tmp_path / "a.pt"), tmp_path / "b.pt"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.namelist():
            target.writestr(part, source.read(part))
        with target.open("archive/data/99", "w", force_zip64=True) as part:
            for _ in range(200):
                part.write(bytes(2**20))
    with pytest.raises(FeatureFileError, match="bytes of data"):
        VideoFeatures.load(bomb)
