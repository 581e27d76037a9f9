"""Entry point of the training loop: sets a run up, resumes it, and exports the trained model."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from endofm.training.config_schema import to_dict
from endofm.training.engine import run_checkpoints
from endofm.training.engine.devices import choose_accelerator, on_first_process, open_fabric
from endofm.training.engine.loggers import make_loggers, plot_run
from endofm.training.engine.loop import TrainingLoop
from endofm.training.engine.reporter import Reporter
from endofm.training.engine.run_folder import RunFolder
from endofm.training.engine.run_precision import explain_precision, run_precision
from endofm.training.engine.session import Session
from endofm.training.engine.training_task import DataFactory, RunSummary, TrainingTask
from endofm.training.run_config import FixedPrecision, RunConfig


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Outcome of a run.

    Attributes:
        folder: Folder of the run.
        step: Steps done.
        finished: False if a signal stopped it; the same call resumes it.
        metrics: Last value of every metric.
        best_step: Step of the best validation, None without one.
        stopped_by: Number of the signal, None if there was none.
    """

    folder: Path
    step: int
    finished: bool
    metrics: dict[str, float]
    best_step: int | None = None
    stopped_by: int | None = None

    @property
    def exit_status(self) -> int:
        """Exit status of a command that did this run: 0, or 128 plus the number of the signal."""
        return 128 + self.stopped_by if self.stopped_by else 0


class StopSignals:
    """Records SIGINT and SIGTERM, so that the loop can finish its step and save; a second SIGINT stops at once.

    Use it as a context manager. Outside the main thread, where Python allows no handlers, it records nothing.

    Attributes:
        received: Number of the signal, None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.received == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


def fit(
    task: TrainingTask,
    data: DataFactory,
    run: RunConfig,
    folder: str | Path,
    *,
    config: Any = None,
    progress: bool = True,
) -> RunResult:
    """Train, or resume training if the folder holds a part of this run.

    Args:
        task: The task, with its initial weights. Build it after
            :func:`~endofm.training.engine.random_state.seed_all`, so that these are the same in every process.
        data: Makes the data of a process; see :class:`~endofm.training.engine.training_task.LoaderSpec`.
        run: Run settings: duration, devices, checkpointing, logging.
        folder: Folder of the run; see :mod:`endofm.training.engine.run_folder`.
        config: The full configuration (a dataclass), stored and compared when a run is resumed; ``run`` alone by
            default.
        progress: Show a progress bar on a terminal, and lines elsewhere.

    Returns:
        The outcome. Ctrl-C and SIGTERM end the run after the current step, with a checkpoint.

    Raises:
        ConfigError: If the settings contradict one another or the devices.
        TrainingError: If the loss is not finite or the run is not healthy.
        CheckpointFormatError: If every checkpoint of the run is damaged, or of another task.
        JobError: If another process is training in the folder, or the run was started with other settings.
    """
    home = RunFolder(folder)
    # Processes that measure it each get the same answer: the speeds differ by much more than a measurement does.
    precision = run_precision(run, choose_accelerator(run), home.recorded_precision())
    fabric = open_fabric(replace(run, precision=precision), task)
    settings = run if config is None else config
    with ExitStack() as stack:
        on_first_process(fabric, lambda: stack.enter_context(home.exclusive()))
        on_first_process(fabric, lambda: home.store_settings(settings, precision))
        session = Session(fabric, task, data, run, home)
        path, notes = on_first_process(fabric, home.checkpoints.newest_intact)
        notes += session.restore(path) if path else []
        reporter = Reporter(
            total=session.plan.total_steps,
            done=session.step,
            clips_per_step=run.batch_size,
            first=fabric.is_global_zero,
            progress=progress,
        )
        stack.callback(reporter.close)
        if explanation := explain_precision(run, precision):
            reporter.show(explanation)
        for note in notes:
            reporter.show(f"endofm: warning: {note}")
        if path and not session.done:
            reporter.show(f"Resuming from {path} ({session.step} of {session.plan.total_steps} steps done).")
        loggers = make_loggers(run, home.logs, home.identity(), to_dict(settings)) if fabric.is_global_zero else []
        for logger in loggers:
            logger.begin(session.history, session.step)
            stack.callback(logger.close)
        stop = stack.enter_context(StopSignals())
        TrainingLoop(session, to_dict(settings), reporter, loggers, lambda: stop.received is not None).run()
        if stop.received and not session.done:
            name = signal.Signals(stop.received).name
            reporter.show(f"Stopped by {name} after step {session.step}, which is saved; rerun the command to resume.")
        elif fabric.is_global_zero:
            _export(session, _with_precision(to_dict(settings), precision), reporter)
        if fabric.is_global_zero:
            plot_run(home.plot, session.history, f"{home.root.name}: {session.step} steps")
        # No process may leave before the first one has written: a launcher would take it for the end of the run.
        fabric.barrier()
        return RunResult(
            folder=home.root,
            step=session.step,
            finished=session.done,
            metrics=_last_metrics(session),
            best_step=session.best.best_step,
            stopped_by=None if session.done else stop.received,
        )


def _export(session: Session, config: dict[str, Any], reporter: Reporter) -> None:
    """Let the task write the trained model, unless an earlier call did."""
    home, best = session.home, session.best.best_step
    if home.export.exists():
        return
    # From the checkpoint rather than the modules: the best step may be long past, and the modules may be sharded.
    step = session.step if best is None else best
    content = run_checkpoints.read_run_checkpoint(home.checkpoints.path(step))
    summary = RunSummary(
        config=config,
        plan=session.plan,
        step=step,
        metrics=_last_metrics(session),
        best_step=best,
        seconds=content["seconds"],
        device=_device_name(session.fabric.device),
    )
    session.task.export(home.export, {"network": content["network"], **content["helpers"]}, summary)
    if home.export.exists():
        reporter.show(f"The trained model is in {home.export}.")


def _with_precision(config: dict[str, Any], precision: FixedPrecision) -> dict[str, Any]:
    """Return a configuration that states the precision in which the run was computed."""
    if "run" in config:
        return {**config, "run": {**config["run"], "precision": precision}}
    return {**config, "precision": precision}


def _last_metrics(session: Session) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for row in session.history:
        metrics |= {name: value for name, value in row.items() if name not in ("kind", "step", "epoch")}
    return metrics


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
