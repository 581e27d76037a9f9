"""Configurations from YAML files and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import ConfigError
from endofm.resume import require_same_settings
from endofm.training.config_files import load_config, read_yaml, to_yaml
from endofm.training.config_schema import resume_safe, to_dict
from endofm.training.pretrain_config import PretrainConfig
from endofm.training.run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    kind: Literal["adamw", "sgd"] = "adamw"


@dataclass(frozen=True, kw_only=True)
class Apple:
    name: Literal["apple", "apple-fixed"] = "apple"
    size: int = 3


@dataclass(frozen=True, kw_only=True)
class Pear:
    name: Literal["pear"] = "pear"
    queue: int = 1024
    optim: Optim = field(default_factory=Optim)


@dataclass(frozen=True, kw_only=True)
class Config:
    data: tuple[Path, ...]
    fruit: Apple | Pear = field(default_factory=Apple)
    optim: Optim = field(default_factory=lambda: Optim(lr=0.1))
    limit: int | None = None
    mixed: int | str = 1
    flag: bool = False
    weights: dict[str, float] = field(default_factory=dict)
    speed: int = resume_safe(1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: [a, b]\nfruit:\n  name: pear\n  optim: {lr: 1e-3}\noptim:\n  betas: [0.8, 0.9]\nlimit: 4\n",
        encoding="utf-8",
    )
    return path


def test_a_file_fills_the_dataclasses(file: Path) -> None:
    config = load_config(Config, file)
    assert config.data == (Path("a"), Path("b"))
    # 1e-3 is a string in YAML 1.1; a part that is given in part keeps the default of its owner.
    assert config.fruit == Pear(optim=Optim(lr=0.001))
    assert config.optim == Optim(lr=0.1, betas=(0.8, 0.9))
    assert config.limit == 4


def test_the_command_line_wins(file: Path) -> None:
    overrides = ["optim.lr=1e-4", "limit=null", "fruit.queue=8", "weights.dice=2", "data=[c]", "flag=true"]
    config = load_config(Config, file, overrides)
    assert (config.optim.lr, config.limit, config.data, config.flag) == (1e-4, None, (Path("c"),), True)
    assert config.fruit == Pear(queue=8, optim=Optim(lr=0.001))
    assert config.weights == {"dice": 2.0}


def test_a_name_selects_a_part(file: Path) -> None:
    assert load_config(Config, file, ["fruit=apple-fixed"]).fruit == Apple(name="apple-fixed")
    assert load_config(Config, {"data": "x", "fruit": "pear"}, ["fruit.queue=2"]).fruit == Pear(queue=2)
    # Without a name the default's is meant.
    assert load_config(Config, {"data": "x", "fruit": {"size": 4}}).fruit == Apple(size=4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optim.lrr=1"], r"command line: optim\.lrr: .*did you mean 'lr'"),
        (["optim.lr=fast"], r"command line: optim\.lr: expected a number, got 'fast'"),
        (["limit=1.5"], r"limit: expected an integer, got 1\.5"),
        (["flag=1"], "flag: expected true or false, got 1"),
        (["limit=true"], "limit: expected an integer, got True"),
        (["optim.kind=adam"], r"optim\.kind: must be one of adamw, sgd, got 'adam'; did you mean 'adamw'"),
        (["optim.betas=[1]"], r"optim\.betas: expected a list of 2, got 1"),
        (["optim.betas=[1, x]"], r"optim\.betas\[1\]: expected a number"),
        (["fruit=peer"], r"fruit\.name: must be one of apple, apple-fixed, pear, got 'peer'; did you mean 'pear'"),
        (["fruit.size=1"], r"fruit\.size: there is no such setting; known keys: name, queue, optim"),
        (["mixed=[1]"], r"mixed: expected an integer or a string, got \[1\]"),
        (["optim=3"], r"optim: expected the fields of Optim, got 3"),
        (["optim.lr"], r"expected key=value"),
        (["optim.lr=[1"], r"is not a YAML value"),
    ],
)
def test_mistakes_are_named(file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Config, file, overrides)


def test_mistakes_in_files_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("data: [a]\nlimti: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.yaml: limti: there is no such setting; did you mean 'limit'"):
        load_config(Config, path)
    path.write_text("limit: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.yaml: data: this setting has no default"):
        load_config(Config, path)
    path.write_text("limit: 3\nlimit: 4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'limit' is given twice"):
        load_config(Config, path)
    path.write_text("- 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"expected `key: value` lines"):
        load_config(Config, path)
    path.write_text("data: !!python/object/apply:os.system [echo]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a readable YAML file"):
        load_config(Config, path)
    with pytest.raises(ConfigError, match="there is no such configuration file"):
        load_config(Config, tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"run: batch_size must be at least 1"):
        load_config(WithRun, {"run": {"batch_size": 0}})


@dataclass(frozen=True, kw_only=True)
class WithRun:
    run: RunConfig = field(default_factory=RunConfig)


@given(
    st.builds(
        Config,
        data=st.lists(st.sampled_from(["a", "b c", "é", "1"]).map(Path), max_size=3).map(tuple),
        fruit=st.one_of(
            st.builds(Apple, size=st.integers()), st.builds(Pear, optim=st.builds(Optim, lr=st.floats(1e-12, 1e12)))
        ),
        optim=st.builds(Optim, kind=st.sampled_from(["adamw", "sgd"])),
        limit=st.none() | st.integers(),
        mixed=st.integers() | st.text(min_size=1, alphabet="abc01: -#é'\""),
        weights=st.dictionaries(st.text("abc", min_size=1), st.floats(allow_nan=False), max_size=2),
    )
)
def test_yaml_reads_back_to_an_equal_configuration(tmp_path_factory: pytest.TempPathFactory, config: Config) -> None:
    path = tmp_path_factory.mktemp("yaml") / "c.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(Config, path) == config
    require_same_settings(path.parent, read_yaml(path), to_dict(config), remedy="x")


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        f"{LAUGHS}run: *a11\n",
        "run: " + "[" * 50_000,
        "run: " + "{a: " * 3000,
        "? " * 5000,
        "run: &a [*a]\n",
        "run: &r\n  <<: *r\n",
        "run: {epochs: 2001-99-99}\n",
        "run: {epochs: " + "9" * 50_000 + "}\n",
        "? [a, b]\n: 1\n? {c: d}\n: 2\n",
        "x: " + "y" * 1_100_000,
        "run: !!python/object/apply:os.system ['true']\n",
        "objective: {name: {a: 1}}\n",
    ],
    ids=lambda text: text[:24],
)
def test_hostile_yaml_is_refused_within_limits(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_config(PretrainConfig, tmp_path / "run.yaml", ["data.clips=clips"])
    assert len(str(refused.value)) < 2000


def test_aliases_repeat_values(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("a: &a {x: 1}\nb: *a\nc: [*a, *a]\n", encoding="utf-8")
    assert read_yaml(tmp_path / "run.yaml") == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}


def test_a_mark_at_the_start_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("\ufeffa: 1\n", encoding="utf-8")
    assert read_yaml(tmp_path / "run.yaml") == {"a": 1}
