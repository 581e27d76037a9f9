"""The training loop: optimisation steps, and what is due between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from endofm.errors import TrainingError
from endofm.training.engine import feed, random_state
from endofm.training.engine.distributed import Agreement, all_reduce_mean
from endofm.training.engine.health import loss_error
from endofm.training.engine.loggers import MetricLogger
from endofm.training.engine.reporter import Reporter
from endofm.training.engine.session import Session
from endofm.training.engine.training_task import StepOutput


class TrainingLoop:
    """Runs the steps of a session from where it stands to its end.

    Args:
        session: The run in progress.
        config: Resolved configuration, stored in every checkpoint.
        reporter: Progress and messages.
        loggers: Receive a row of metrics at a time; empty on all processes but the first.
        stop_requested: Whether this process was asked to stop; checked after every step.
    """

    def __init__(
        self,
        session: Session,
        config: dict[str, Any],
        reporter: Reporter,
        loggers: Sequence[MetricLogger],
        stop_requested: Callable[[], bool],
    ) -> None:
        self.session, self.config, self.reporter, self.loggers = session, config, reporter, loggers
        self.stop_requested = stop_requested
        self.task, self.run_config, self.plan = session.task, session.run, session.plan
        self.fabric, self.network = session.fabric, session.network
        self.agreement = Agreement()
        self.saved_step = session.step
        self.scheduled: Mapping[str, float] = {}

    def run(self) -> None:
        """Train to the end of the run, or until a stop is requested."""
        session, plan = self.session, self.plan
        while not session.done:
            # A resumed run may stand anywhere in an epoch; batches before that step are not read.
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
                # A step without a readable batch counts as well: schedules and resuming go by the step.
                session.step += 1
                self.after_step(epoch)
                # A signal may reach one process alone, but all of them must leave after the same step.
                (stopped,) = self.agreement.any([self.stop_requested()])
                if stopped or session.done:
                    break
            if stopped:
                break
        if session.step > self.saved_step:
            self.save()

    def step(self, batches: list[Any]) -> float:
        """Do one optimisation step on the parts of a batch; return its loss, the mean over all processes."""
        session, task, fabric, number = self.session, self.task, self.fabric, self.session.step
        optimizer = session.optimizer
        self.scheduled = task.schedule(optimizer, number)
        optimizer.zero_grad(set_to_none=True)
        outputs = []
        for index, batch in enumerate(batches):
            # Gradients are averaged over processes once per step, in the last part.
            with fabric.no_backward_sync(self.network, enabled=index < len(batches) - 1):
                with fabric.autocast():
                    output = task.training_step(self.network, batch, number)
                # The mean of the parts' means is the mean of the batch, because parts are of equal size.
                fabric.backward(output.loss / len(batches))
            outputs.append(output)
        loss = torch.stack([output.loss.detach().float() for output in outputs]).mean()
        mean = float(all_reduce_mean(loss))
        # NaN and infinity survive the mean, so every process sees the failure of one and stops before the update.
        if not math.isfinite(mean):
            raise loss_error(
                session.home.root,
                step=number,
                loss=loss,
                batches=batches,
                network=task.network,
                rank=fabric.global_rank,
            )
        # Gradients must be unscaled before the task clips them; GradScaler then knows not to do it again.
        if session.scaler is not None:
            session.scaler.unscale_(optimizer)
        with torch.no_grad():
            after = task.after_backward(number)
            session.stepper.step()
            task.after_step(number)
        self.accumulate_metrics(loss, outputs, after)
        return mean

    def accumulate_metrics(self, loss: Tensor, outputs: Sequence[StepOutput], after: Any) -> None:
        """Add a step's metrics to the means of the next row of the log."""
        means = self.session.means
        means.add({"loss": loss})
        for output in outputs:
            means.add(output.metrics)
        means.add(after)

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
        # The best validation always has a checkpoint: it is the one that is exported.
        if best or by_steps or (at_end and (epoch + 1) % run.checkpoint_every_epochs == 0):
            self.save()

    def log(self, epoch: int) -> None:
        """Write a row of the log and check it against the health rules."""
        session, step = self.session, self.session.step
        means = session.means.means()
        if not means:
            return
        rate = self.reporter.row(step, epoch, means["loss"])
        scale = {"loss_scale": session.scaler.get_scale()} if session.scaler else {}
        self.write("train", epoch, {**means, **self.scheduled, **scale, "clips_per_second": rate})
        self.check_health(means)

    def check_health(self, metrics: Mapping[str, float]) -> None:
        """Warn, or stop the run, if metrics break a health rule."""
        problems = self.session.health.check(self.session.step, metrics)
        for problem in problems:
            self.reporter.show(f"endofm: warning: {problem}")
        if problems and self.run_config.on_unhealthy == "stop":
            self.save()
            raise TrainingError(
                f"{problems[0]} The run is stopped; set run.on_unhealthy=warn to resume from its checkpoint anyway"
            )

    def validate(self, epoch: int) -> bool:
        """Validate; return whether it was the best so far."""
        self.task.set_training(False)
        # Training draws the same random numbers whether it validates or not, and however often.
        with random_state.preserved(), torch.no_grad(), self.fabric.autocast():
            metrics = dict(self.fabric.broadcast(dict(self.task.validate(epoch))))
        self.task.set_training(True)
        if metrics:
            self.write("validation", epoch, metrics)
            values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            self.reporter.show(f"epoch {epoch}: {values}")
            self.check_health(metrics)
        return self.session.best.update(self.session.step, metrics)

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
