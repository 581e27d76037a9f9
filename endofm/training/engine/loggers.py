"""Metric logs and the plot of a run.

Every log is consistent after a run was killed and resumed, without duplicate or lost rows: when a run starts, a log is
rewritten from the rows in the checkpoint, so that rows of steps that will be repeated disappear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from endofm.csv_text import write_rows
from endofm.errors import require_extra
from endofm.files import atomic_path
from endofm.training.run_config import RunConfig
from endofm.visualize.figures import new_figure, save_figure

Row = dict[str, Any]
"""``kind`` (``"train"`` or ``"validation"``), ``step``, ``epoch``, and metrics by name."""

_PLOT_COLUMNS = 4
_NOT_PLOTTED = ("kind", "step", "epoch")


class MetricLogger(Protocol):
    """Sink for rows of metrics."""

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Reset the log to the rows of ``history``, those of a run that has done ``step`` steps."""
        ...

    def write(self, row: Row) -> None:
        """Add a row."""
        ...

    def close(self) -> None:
        """Flush pending rows."""
        ...


def make_loggers(
    run: RunConfig, folder: Path, identity: Mapping[str, Any], config: Mapping[str, Any]
) -> list[MetricLogger]:
    """Return the loggers named in the run settings.

    Args:
        run: Run settings.
        folder: Folder of the logs.
        identity: Identity of the run, for services that need one.
        config: Resolved configuration, for the same services.

    Raises:
        MissingExtraError: If a logger needs a package that is not installed.
    """
    loggers: list[MetricLogger] = []
    for name in dict.fromkeys(run.loggers):
        if name == "csv":
            loggers.append(CsvLogger(folder))
        elif name == "tensorboard":
            loggers.append(TensorBoardLogger(folder / "tensorboard"))
        else:
            loggers.append(WandbLogger(folder, identity, config))
    return loggers


class CsvLogger:
    """One file per kind of row, ``train.csv`` and ``validation.csv``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, list[Row]] = {}
        self._columns: dict[str, list[str]] = {}

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Rewrite the files from the rows in the checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows, self._columns = {"train": [], "validation": []}, {"train": [], "validation": []}
        for row in history:
            self._add_row(row)
        for kind in self._rows:
            self._rewrite(kind)

    def write(self, row: Row) -> None:
        """Append a row; the file is rewritten if the row has a metric that no row before it had."""
        kind = row["kind"]
        if self._add_row(row):
            self._rewrite(kind)
        else:
            with self._path(kind).open("a", encoding="utf-8", newline="") as file:
                write_rows(file, [self._cells(row)])

    def close(self) -> None:
        """Do nothing: every row is already in its file."""

    def _add_row(self, row: Row) -> bool:
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
            write_rows(file, [self._columns[kind], *map(self._cells, self._rows[kind])])

    def _cells(self, row: Row) -> list[Any]:
        values = _values(row)
        return [values.get(name, "") for name in self._columns[row["kind"]]]

    def _path(self, kind: str) -> Path:
        return self.folder / f"{kind}.csv"


class TensorBoardLogger:
    """Event files for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        require_extra("tensorboard", "train", "Logging to TensorBoard")
        self.folder = folder
        self._writer: Any = None

    def begin(self, history: Sequence[Row], step: int) -> None:
        """Replace the event files by one with the rows in the checkpoint."""
        from torch.utils.tensorboard import SummaryWriter

        # SummaryWriter's purge_step would do, but TensorBoard reads files in the order of their names, and these do
        # not sort in the order of creation if two processes were started within one second.
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
        """Start the run, or continue the one with the same identity."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            id=self._identity["id"], resume="allow", dir=str(self._folder), config=dict(self._config)
        )

    def write(self, row: Row) -> None:
        """Add a row; the service drops rows of steps that it already has."""
        self._run.log({f"{row['kind']}/{name}": value for name, value in _values(row).items()}, step=row["step"])

    def close(self) -> None:
        """Finish uploading."""
        if self._run is not None:
            self._run.finish()


def _values(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "kind"}


def plot_run(path: Path, history: Sequence[Row], title: str) -> None:
    """Plot the rows of the log, one panel per metric: training in blue, validation in orange.

    Args:
        path: PNG file to create or replace.
        history: Rows of the log.
        title: Title of the figure.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for row in history for name in row if name not in _NOT_PLOTTED))
    names.sort(key=lambda name: name != "loss")  # loss first, the others in the order of the log
    if not names:
        return
    rows = -(-len(names) // _PLOT_COLUMNS)
    width, height = 3.2 * _PLOT_COLUMNS, 2.3 * rows + 0.4
    figure = new_figure(width, height, extra="train", purpose="The plot of the run")
    figure.suptitle(title)
    panels = figure.subplots(rows, _PLOT_COLUMNS, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        for kind, colour in (("train", "tab:blue"), ("validation", "tab:orange")):
            points = [(row["step"], row[name]) for row in history if row["kind"] == kind and name in row]
            if points:
                steps, values = zip(*points, strict=True)
                panel.plot(steps, values, color=colour, marker="." if len(points) < 20 else "", linewidth=1)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    save_figure(figure, path, dpi=90)
