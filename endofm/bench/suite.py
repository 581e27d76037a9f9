"""Suites: which sets are scored, how, and where the split comes from; YAML files in ``suites`` or of one's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from endofm.bench.probe_set import ProbeSet
from endofm.bench.readers.boxes import LesionClasses, LesionRetrieval
from endofm.bench.readers.class_stills import DrawnCells, ListedStills, NamedStills
from endofm.bench.readers.masked_stills import MaskedStills
from endofm.bench.readers.recordings import LabelledRecordings, Phases
from endofm.errors import ConfigError, InputError, quoted
from endofm.evaluation.ridge_probe import PENALTIES
from endofm.training.config_files import load_config

AnyReader = (
    MaskedStills
    | ListedStills
    | NamedStills
    | DrawnCells
    | LabelledRecordings
    | Phases
    | LesionClasses
    | LesionRetrieval
)
ProbeName = Literal["k-NN", "linear", "attentive", "few-shot", "retrieval"]
Metric = Literal["auroc", "macro-f1", "accuracy"]
View = Literal["whole", "own"]

_FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """Probes of a set. Of several candidates for a setting, validation alone chooses one.

    Attributes:
        probes: Probes: `k-NN`, `linear` (ridge regression), `attentive` (a trained query over patch tokens), `few-shot`
            (class means of a few groups), `retrieval` (the nearest item is of the same class).
        metric: Metric of the classifiers; of several classes the mean over classes.
        folds: Folds of a cross-validation by group that scores every item; 0 for the set's own split.
        neighbours: Candidates for the neighbours of k-NN.
        penalties: Candidates for the penalty of the linear probe.
        steps: Candidates for the training steps of the attentive probe.
        shots: Groups per class of the few-shot probe.
        draws: Draws of these groups; the score is the mean over draws.
        resamples: Largest number of resamples of the intervals, where there are too many items for more.
    """

    probes: tuple[ProbeName, ...]
    metric: Metric = "auroc"
    folds: int = 0
    neighbours: tuple[int, ...] = (5, 10, 20, 50)
    penalties: tuple[float, ...] = PENALTIES
    steps: tuple[int, ...] = (50, 100, 200)
    shots: int = 5
    draws: int = 5
    resamples: int = 1000

    def __post_init__(self) -> None:
        candidates = (self.neighbours, self.penalties, self.steps)
        if not self.probes or not all(candidates) or min(map(min, candidates)) <= 0:
            raise ConfigError("probes and their candidates (neighbours, penalties, steps) must be given and positive")
        if self.folds == 1 or min(self.folds, self.resamples) < 0 or min(self.shots, self.draws) < 1:
            raise ConfigError("folds must be 0 or at least 2, resamples at least 0, shots and draws at least 1")


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """A set of a suite.

    Attributes:
        title: Name in the literature.
        reader: How its files are read.
        score: What is scored.
        images_of: Names of the data sets that its pictures come from, as records of weights may spell them; by these
            the overlap with training data is found.
        split: Which split is used.
        split_source: Where that split is published; by default it is declared by the suite alone.
        group: What a group of the intervals is.
        view: `whole` resizes pictures to the encoder's square without a crop, `own` prepares them as the weights say.
        obtain: Where the set is available.
        hub_dataset: Id of the set on the Hugging Face hub, if there is one; for `.eval_results`.
    """

    title: str
    reader: AnyReader
    score: ProbeSettings
    images_of: tuple[str, ...]
    split: str
    split_source: str = "declared by this suite"
    group: str
    view: View = "own"
    obtain: str = ""
    hub_dataset: str = ""

    def read(self, root: Path) -> ProbeSet:
        """Return the set.

        Raises:
            InputError: If it is not below the root; the message names what is expected where.
        """
        try:
            return self.reader.read(root)
        except InputError as error:
            where = f"; it is available at {self.obtain}" if self.obtain else ""
            raise InputError(
                f"{error}. {self.title} is expected as {self.reader.expects()} below {root}{where}. Score other sets "
                "alone with --sets"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Sets that are scored together.

    Attributes:
        title: Heading of the report.
        description: What the suite is for.
        variable: Environment variable that names the root folder of the sets.
        sets: The sets by name.
    """

    title: str
    description: str = ""
    variable: str = "ENDOFM_SETS"
    sets: Mapping[str, SetConfig] = field(default_factory=dict)

    def root(self, given: str | Path | None) -> Path:
        """Return the root folder of the sets: the one given, else that of the environment variable.

        Raises:
            InputError: If there is none.
        """
        named = given or os.environ.get(self.variable)
        if not named or not Path(named).is_dir():
            what = f"{named} is not a folder" if named else "no folder is named"
            raise InputError(f"{what}; name the folder of the sets with --root or the variable {self.variable}")
        return Path(named)

    def select(self, names: str | None) -> dict[str, SetConfig]:
        """Return some sets by their names, joined by commas; all for None.

        Raises:
            InputError: If there is no set of a name.
        """
        chosen = list(self.sets) if names is None else [name.strip() for name in names.split(",")]
        unknown = [name for name in chosen if name not in self.sets]
        if unknown:
            raise InputError(f"the suite has no set {quoted(unknown[0])}; choose from {', '.join(self.sets)}")
        return {name: self.sets[name] for name in chosen}


def suite_names() -> list[str]:
    """Return the names of the suites of the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """Return a suite: of a YAML file, or of the package by name.

    Raises:
        ConfigError: If there is neither, or the file is not a valid suite.
    """
    path = Path(name)
    if not path.is_file():
        path = _FOLDER / f"{name}.yaml"
        if name not in suite_names():
            raise ConfigError(f"{name}: there is no such suite file; the package has {', '.join(suite_names())}")
    suite = load_config(Suite, path)
    if not suite.sets:
        raise ConfigError(f"{path}: the suite has no sets")
    return suite
