"""``torch.hub`` on a copy of the repository, as a user's cache would hold it."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

import hubconf
from endofm import EndoFM, list_models
from endofm.errors import InputError, UntrainedWeightsWarning
from endofm.tasks.family_records import VIDEO_RECORDS
from endofm.tasks.image_records import IMAGE_RECORDS
from helpers.loopback_github import loopback_github
from helpers.paths import REPOSITORY


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a download of the repository brings: no installation, no tests."""
    # Named as torch.hub names what it has downloaded: `list` and `help` take repositories only from there.
    folder = tmp_path_factory.mktemp("hub") / "med-air_Endo-FM_main"
    shutil.copytree(REPOSITORY / "endofm", folder / "endofm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "hubconf.py", folder)
    return folder


def in_a_fresh_process(code: str, folder: Path, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """Run code outside the repository, where only torch.hub can make the package importable."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import torch\nrepo = {str(folder)!r}\n{code}"],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        check=False,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


PACKAGED = {
    "endofm-nano-polyp-masks": "segmentation",
    "endofm-nano-polyp-boxes": "detection",
    "endofm-nano-organs": "classification",
}


def test_every_registered_model_has_an_entry_point() -> None:
    others = {record.name for record in (*VIDEO_RECORDS, *IMAGE_RECORDS)}
    for name in set(list_models()) - others - set(PACKAGED):
        assert hasattr(hubconf, name.replace("-", "_")), name
    # The packaged models of a task are weights of its entry point.
    for name, task in PACKAGED.items():
        assert getattr(hubconf, f"endofm_{task}")(weights=name).config.name == name
    # Encoders of other projects share one.
    for name in (*[each for each in others if each.endswith("-random")], "endofm-nano-4x96"):
        assert hubconf.endofm_encoder(name=name).config.name == name


@pytest.mark.parametrize("name", [n for n in dir(hubconf) if n.startswith("endofm_")])
def test_entry_points_are_documented_and_keyword_only(name: str) -> None:
    function = getattr(hubconf, name)
    assert "Example:" in inspect.getdoc(function)
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(function).parameters.values())


def test_list_help_and_load_from_a_checkout(checkout: Path) -> None:
    output = in_a_fresh_process(
        "torch.hub.load(repo, 'endofm_processor', source='local')\n"
        "import endofm; assert endofm.__file__.startswith(repo), endofm.__file__\n"
        "torch.hub.set_dir(repo + '/..')\n"
        "name = 'med-air/Endo-FM:main'\n"
        "print(torch.hub.list(name, skip_validation=True, trust_repo=True))\n"
        "print(torch.hub.help(name, 'endofm_base_8x224', skip_validation=True, trust_repo=True))\n"
        "model = torch.hub.load(repo, 'endofm_tiny_8x224_random', source='local')\n"
        "print(type(model).__name__, tuple(model(torch.zeros(1, 3, 8, 224, 224)).shape))\n"
        "processor = torch.hub.load(repo, 'endofm_processor', source='local')\n"
        "print(tuple(processor(torch.zeros(8, 240, 320, 3, dtype=torch.uint8)).shape))\n",
        checkout,
    )
    assert "endofm_base_8x224" in output
    assert "endofm_processor" in output
    assert "8 frames of 224 x 224" in output
    assert "EndoFM (1, 192)" in output
    assert "(3, 8, 224, 224)" in output


def test_load_by_the_name_of_the_repository(checkout: Path, tmp_path: Path) -> None:
    archive, files = tmp_path / "main.zip", [checkout / "hubconf.py", *(checkout / "endofm").rglob("*")]
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("med-air-Endo-FM-0000000/", "")  # torch.hub takes the first entry for the folder
        for file in files:
            # What is built on installation is not part of the repository.
            if file.is_file() and file.suffix != ".so":
                packed.write(file, Path("med-air-Endo-FM-0000000") / file.relative_to(checkout))
    with loopback_github("med-air/Endo-FM", archive, tmp_path) as github:
        output = in_a_fresh_process(
            "torch.hub.set_dir(repo)\n"
            "model = torch.hub.load('med-air/Endo-FM', 'endofm_nano_4x96', trust_repo=True)\n"
            "import endofm; assert endofm.__file__.startswith(repo), endofm.__file__\n"
            "features = model.extract_features(endofm.demo_video())\n"
            "print(type(model).__name__, model.config.trained, features.embeddings.shape[1])\n",
            tmp_path / "cache",
            github.environment,
        )
    assert "EndoFM True 192" in output
    assert "github.com/med-air/Endo-FM/zipball/main" in github.requests


def test_weights_can_be_given(tmp_path: Path) -> None:
    with pytest.warns(UntrainedWeightsWarning):
        model = EndoFM.from_pretrained("endofm-tiny-8x224-random")
    model.save_pretrained(tmp_path / "mine")
    with pytest.warns(UntrainedWeightsWarning):
        loaded = torch.hub.load(
            str(REPOSITORY), "endofm_base_8x224", source="local", weights=tmp_path / "mine", local_files_only=True
        )
    assert torch.equal(loaded.cls_token, model.cls_token)


def test_fresh_weights_to_train() -> None:
    model = hubconf.endofm_base_8x224(pretrained=False)
    assert not model.config.trained
    assert model.training
    with pytest.raises(InputError, match="drop one"):
        hubconf.endofm_base_8x224(pretrained=False, weights="x")


def test_nothing_at_top_level_collides(checkout: Path) -> None:
    assert sorted(path.name for path in checkout.iterdir()) == ["endofm", "hubconf.py"]
    packages = subprocess.run(
        [sys.executable, "-c", "from setuptools import find_packages; print(find_packages(include=['endofm*']))"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
    ).stdout
    assert "endofm" in packages
    assert all(name.strip(" '[]\n").startswith("endofm") for name in packages.split(","))
