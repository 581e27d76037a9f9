"""The training loop."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from endofm.errors import TrainingError
from endofm.training.config import to_dict
from endofm.training.engine import checkpoint, feed, random_state
from endofm.training.engine.devices import on_first, open_fabric
from endofm.training.engine.distributed import Agreement, all_reduce_mean
from endofm.training.engine.folder import RunFolder
from endofm.training.engine.health import loss_error
from endofm.training.engine.loggers import MetricLogger, make_loggers
from endofm.training.engine.picture import draw_run
from endofm.training.engine.reporter import Reporter
from endofm.training.engine.session import Session
from endofm.training.engine.signals import StopSignals
from endofm.training.engine.task import DataFactory, RunSummary, StepOutput, TrainingTask
from endofm.training.run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes:
        folder: Folder of the run.
        step: Steps done.
        finished: False if it was stopped by a signal; the same call goes on.
        metrics: Last value of every metric.
        best_step: Step of the best validation, None without one.
        stopped_by: The signal, None if there was none.
    """

    folder: Path
    step: int
    finished: bool
    metrics: dict[str, float]
    best_step: int | None = None
    stopped_by: int | None = None

    @property
    def exit_status(self) -> int:
        """Exit status of a command that did this run: 0, or 128 and the signal's number."""
        return 128 + self.stopped_by if self.stopped_by else 0


def fit(
    task: TrainingTask,
    data: DataFactory,
    run: RunConfig,
    folder: str | Path,
    *,
    config: Any = None,
    progress: bool = True,
) -> RunResult:
    """Train, or go on training if the folder holds a part of this run.

    Args:
        task: What is trained, with its initial weights. Build it after
            :func:`~endofm.training.engine.random_state.seed_all`, so that these are the same in every process.
        data: Makes the data of a process; see :class:`~endofm.training.engine.task.Share`.
        run: Length, devices, care.
        folder: Folder of the run; see :mod:`endofm.training.engine.folder`.
        config: The whole configuration (a dataclass), to be stored and compared when a run is resumed; ``run`` alone
            by default.
        progress: Show a progress bar on a terminal, and lines elsewhere.

    Returns:
        How the run ended. Ctrl-C and SIGTERM end it after the step under way, with a checkpoint.

    Raises:
        ConfigError: If the settings contradict one another, the devices, or those that the run began with.
        TrainingError: If the loss is not finite or the run is not healthy.
        CheckpointFormatError: If every checkpoint of the run is damaged, or of another task.
        JobError: If another process is training in the folder.
    """
    fabric = open_fabric(run, task)
    home = RunFolder(folder)
    whole = run if config is None else config
    with ExitStack() as stack:
        on_first(fabric, lambda: stack.enter_context(home.alone()))
        on_first(fabric, lambda: home.take(whole))
        session = Session(fabric, task, data, run, home)
        path, notes = on_first(fabric, home.checkpoints.newest_whole)
        notes += session.restore(path) if path else []
        reporter = Reporter(
            total=session.plan.total_steps,
            done=session.step,
            clips_per_step=run.batch_size,
            first=fabric.is_global_zero,
            progress=progress,
        )
        stack.callback(reporter.close)
        for note in notes:
            reporter.say(f"endofm: warning: {note}")
        if path and not session.done:
            reporter.say(f"Going on from {path} ({session.step} of {session.plan.total_steps} steps done).")
        loggers = make_loggers(run, home.logs, home.identity(), to_dict(whole)) if fabric.is_global_zero else []
        for logger in loggers:
            logger.begin(session.history, session.step)
            stack.callback(logger.close)
        stop = stack.enter_context(StopSignals())
        _Loop(session, to_dict(whole), reporter, loggers, stop).run()
        if stop.received and not session.done:
            name = signal.Signals(stop.received).name
            reporter.say(f"Stopped by {name} after step {session.step}, which is saved. The same command goes on.")
        elif fabric.is_global_zero:
            _export(session, to_dict(whole), reporter)
        if fabric.is_global_zero:
            draw_run(home.picture, session.history, f"{home.root.name}: {session.step} steps")
        fabric.barrier()
        return RunResult(
            folder=home.root,
            step=session.step,
            finished=session.done,
            metrics=_last_metrics(session),
            best_step=session.monitor.best_step,
            stopped_by=None if session.done else stop.received,
        )


class _Loop:
    """Steps, epochs, and what happens between them."""

    def __init__(
        self,
        session: Session,
        config: dict[str, Any],
        reporter: Reporter,
        loggers: Sequence[MetricLogger],
        stop: StopSignals,
    ) -> None:
        self.session, self.config, self.reporter, self.loggers, self.stop = session, config, reporter, loggers, stop
        self.task, self.run_config, self.plan = session.task, session.run, session.plan
        self.fabric, self.network = session.fabric, session.network
        self.agreement = Agreement()
        self.saved_step = session.step
        self.values: Mapping[str, float] = {}

    def run(self) -> None:
        """Train until the end of the run, or until a signal."""
        session, plan = self.session, self.plan
        while not session.done:
            epoch, first = divmod(session.step, plan.steps_per_epoch)
            groups = feed.steps(
                session.data,
                self.agreement,
                epoch=epoch,
                first=first,
                count=plan.steps_per_epoch,
                parts=self.run_config.accumulate,
            )
            for batches in groups:
                if batches:
                    loss = self.step([feed.to_device(batch, self.fabric.device) for batch in batches])
                    self.reporter.advance(session.step + 1, loss)
                session.step += 1
                self.after_step(epoch)
                (stopped,) = self.agreement.any([self.stop.received is not None])
                if stopped or session.done:
                    break
            if stopped:
                break
        if session.step > self.saved_step:
            self.save()

    def step(self, batches: list[Any]) -> float:
        """Do one optimisation step on the parts of a batch and return its loss, the mean over all processes."""
        session, task, fabric, number = self.session, self.task, self.fabric, self.session.step
        optimizer = session.optimizer
        self.values = task.schedule(optimizer, number)
        optimizer.zero_grad(set_to_none=True)
        outputs = []
        for place, batch in enumerate(batches):
            with fabric.no_backward_sync(self.network, enabled=place < len(batches) - 1):
                with fabric.autocast():
                    output = task.training_step(self.network, batch, number)
                fabric.backward(output.loss / len(batches))
            outputs.append(output)
        loss = torch.stack([output.loss.detach().float() for output in outputs]).mean()
        mean = float(all_reduce_mean(loss))
        if not math.isfinite(mean):
            raise loss_error(
                session.home.root,
                step=number,
                loss=loss,
                batches=batches,
                network=task.network,
                rank=fabric.global_rank,
            )
        if session.scaler is not None:
            session.scaler.unscale_(optimizer)
        with torch.no_grad():
            after = task.after_backward(number)
            session.stepper.step()
            task.after_step(number)
        self.note(loss, outputs, after)
        return mean

    def note(self, loss: Tensor, outputs: Sequence[StepOutput], after: Any) -> None:
        """Add a step's metrics to those that the next row of the log is the mean of."""
        meter = self.session.meter
        meter.add({"loss": loss})
        for output in outputs:
            meter.add(output.metrics)
        meter.add(after)

    def after_step(self, epoch: int) -> None:
        """Do what is due after a step: a row of the log, validation, a checkpoint."""
        run, step = self.run_config, self.session.step
        at_end = step % self.plan.steps_per_epoch == 0 or step == self.plan.total_steps
        if step % run.log_every == 0 or at_end:
            self.log(epoch)
        best = False
        if at_end and ((epoch + 1) % run.validate_every_epochs == 0 or step == self.plan.total_steps):
            best = self.validate(epoch)
        by_steps = run.checkpoint_every_steps is not None and step % run.checkpoint_every_steps == 0
        if best or by_steps or (at_end and (epoch + 1) % run.checkpoint_every_epochs == 0):
            self.save()

    def log(self, epoch: int) -> None:
        """Write a row and let the watch look at it."""
        session, step = self.session, self.session.step
        means = session.meter.means()
        if not means:
            return
        rate = self.reporter.row(step, epoch, means["loss"])
        scale = {"loss_scale": session.scaler.get_scale()} if session.scaler else {}
        self.write("train", epoch, {**means, **self.values, **scale, "clips_per_second": rate})
        self.look_at(means)

    def look_at(self, metrics: Mapping[str, float]) -> None:
        """Warn, or stop the run, if metrics show that it is not healthy."""
        problems = self.session.health.check(self.session.step, metrics)
        for problem in problems:
            self.reporter.say(f"endofm: warning: {problem}")
        if problems and self.run_config.on_unhealthy == "stop":
            self.save()
            raise TrainingError(
                f"{problems[0]} The run is stopped; set run.on_unhealthy=warn to go on from its checkpoint all the same"
            )

    def validate(self, epoch: int) -> bool:
        """Validate and return whether it was the best so far. The training's random numbers do not depend on it."""
        self.task.set_training(False)
        with random_state.unchanged(), torch.no_grad(), self.fabric.autocast():
            metrics = dict(self.fabric.broadcast(dict(self.task.validate(epoch))))
        self.task.set_training(True)
        if metrics:
            self.write("validation", epoch, metrics)
            told = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            self.reporter.say(f"epoch {epoch}: {told}")
            self.look_at(metrics)
        return self.session.monitor.update(self.session.step, metrics)

    def write(self, kind: str, epoch: int, metrics: dict[str, float]) -> None:
        """Add a row to the history and to every log."""
        row = {"kind": kind, "step": self.session.step, "epoch": epoch, **metrics}
        self.session.history.append(row)
        for logger in self.loggers:
            logger.write(row)

    def save(self) -> None:
        """Write a checkpoint."""
        self.session.save(self.config, self.session.seconds_before + self.reporter.seconds())
        self.saved_step = self.session.step


def _export(session: Session, config: dict[str, Any], reporter: Reporter) -> None:
    """Let the task write the trained model, unless it is there."""
    home, best = session.home, session.monitor.best_step
    if home.export.exists():
        return
    step = session.step if best is None else best
    content = checkpoint.read(home.checkpoints.path(step))
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
        reporter.say(f"The trained model is in {home.export}.")


def _last_metrics(session: Session) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in session.history:
        found |= {name: value for name, value in row.items() if name not in ("kind", "step", "epoch")}
    return found


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
