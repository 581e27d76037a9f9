"""Where metrics are written. All of them are consistent after a run was killed and resumed: no row twice, none lost."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from endofm.errors import require_extra
from endofm.files import atomic_path
from endofm.training.run_config import RunConfig

Row = dict[str, Any]
"""``kind`` (``"train"`` or ``"validation"``), ``step``, ``epoch``, and metrics by name."""


class MetricLogger(Protocol):
    """Takes rows of metrics."""

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Make the record that of a run that has done ``step`` steps and written the rows of ``history``."""
        ...

    def write(self, row: Row) -> None:
        """Add a row."""
        ...

    def close(self) -> None:
        """Write out what is pending."""
        ...


def make_loggers(
    run: RunConfig, folder: Path, identity: Mapping[str, Any], config: Mapping[str, Any]
) -> list[MetricLogger]:
    """Return the loggers that a run asks for.

    Args:
        run: Names them.
        folder: Where they write.
        identity: Identity of the run, for services that need one.
        config: Resolved configuration, likewise.

    Raises:
        MissingExtraError: If one needs a package that is not installed.
    """
    made: list[MetricLogger] = []
    for name in dict.fromkeys(run.loggers):
        if name == "csv":
            made.append(CsvLogger(folder))
        elif name == "tensorboard":
            made.append(TensorBoardLogger(folder / "tensorboard"))
        else:
            made.append(WandbLogger(folder, identity, config))
    return made


class CsvLogger:
    """One file per kind of row, ``train.csv`` and ``validation.csv``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, list[Row]] = {}
        self._columns: dict[str, list[str]] = {}

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Write the files anew from the rows that the checkpoint holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows, self._columns = {"train": [], "validation": []}, {"train": [], "validation": []}
        for row in history:
            self._take(row)
        for kind in self._rows:
            self._rewrite(kind)

    def write(self, row: Row) -> None:
        """Append a row; the file is written anew if it has a metric that no row before it had."""
        kind = row["kind"]
        if self._take(row):
            self._rewrite(kind)
        else:
            with self._path(kind).open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns[kind], restval="").writerow(_values(row))

    def close(self) -> None:
        """Do nothing: every row is in its file already."""

    def _take(self, row: Row) -> bool:
        columns = self._columns[row["kind"]]
        new = [name for name in _values(row) if name not in columns]
        columns += new
        self._rows[row["kind"]].append(row)
        return bool(new)

    def _rewrite(self, kind: str) -> None:
        path = self._path(kind)
        if not self._rows[kind]:
            path.unlink(missing_ok=True)
            return
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns[kind], restval="")
            writer.writeheader()
            writer.writerows(_values(row) for row in self._rows[kind])

    def _path(self, kind: str) -> Path:
        return self.folder / f"{kind}.csv"


class TensorBoardLogger:
    """Event files for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        require_extra("tensorboard", "train", "Logging to TensorBoard")
        self.folder = folder
        self._writer: Any = None

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Write the file anew from the rows that the checkpoint holds.

        TensorBoard can be told to forget events, but it reads files in the order of their names, which is not that of
        processes which were started within one second.
        """
        from torch.utils.tensorboard import SummaryWriter

        for old in self.folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self.folder))
        for row in history:
            self._add(row)
        self._writer.flush()

    def write(self, row: Row) -> None:
        """Add a row."""
        self._add(row)
        self._writer.flush()

    def _add(self, row: Row) -> None:
        for name, value in _values(row).items():
            if name != "step":
                self._writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class WandbLogger:
    """Weights & Biases, if it is installed."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self._wandb = require_extra("wandb", "wandb", "Logging to Weights & Biases")
        self._folder, self._identity, self._config = folder, identity, config
        self._run: Any = None

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Begin, or go on with the run of the same identity."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            id=self._identity["id"], resume="allow", dir=str(self._folder), config=dict(self._config)
        )

    def write(self, row: Row) -> None:
        """Add a row; the service drops rows for steps that it has."""
        self._run.log({f"{row['kind']}/{name}": value for name, value in _values(row).items()}, step=row["step"])

    def close(self) -> None:
        """Finish uploading."""
        if self._run is not None:
            self._run.finish()


def _values(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "kind"}
