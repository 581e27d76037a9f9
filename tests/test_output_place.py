"""Places for output: what is put is whole, and one process fills a place at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from endofm.address import Address
from endofm.errors import InputError
from endofm.output_place import LocalFolder, OutputPlace, StorePrefix, place_of
from endofm.resume import MANIFEST_NAME


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutputPlace]:
    if request.param == "memory":
        pytest.importorskip("fsspec")
        yield place_of(f"memory://{uuid4().hex}/out")
    else:
        yield place_of(tmp_path / "out")


def test_files_are_there_once_they_are_published(place: OutputPlace) -> None:
    names = ["a/x.json", "a/x.masks"]
    with place.exclusive() as write_manifest:
        assert place.existing(names) == set()
        with place.staged(names) as files:
            files.paths[0].parent.mkdir(parents=True, exist_ok=True)
            files.paths[0].write_text("{}")
            files.paths[1].mkdir()
            (files.paths[1] / "000000.png").write_bytes(b"png")
            files.publish()
        write_manifest("[1]")
        write_manifest("[2]")
    assert place.existing([*names, "a/y.json"]) == set(names)
    assert place.read(MANIFEST_NAME) == b"[2]"
    assert place.read("a/x.json", 1) == b"{"
    assert (place / "a").existing_file("x.json")
    with pytest.raises(FileNotFoundError):
        place.read("a/y.json")


def test_addresses_and_paths_name_places(tmp_path: Path) -> None:
    assert place_of(str(tmp_path)) == place_of(f"file://{tmp_path}") == LocalFolder(tmp_path)
    assert place_of("s3://me:pw@bucket/out") == StorePrefix(Address("s3://me:pw@bucket/out"))
    assert str(place_of("s3://me:pw@bucket/out") / "x") == "s3://bucket/out/x"
    with pytest.raises(InputError, match="results cannot be written to a web server"):
        place_of("https://host/out")
    with pytest.raises(InputError, match="addresses of this kind are not read"):
        place_of("sftp://host/out")
