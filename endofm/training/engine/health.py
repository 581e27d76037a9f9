"""Run-health monitor: stops on a non-finite loss, warns of or stops on a collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from endofm.errors import TrainingError
from endofm.files import atomic_path
from endofm.training.engine.feed import to_device
from endofm.training.engine.training_task import HealthRule


class HealthMonitor:
    """Checks rows of the log against rules.

    Args:
        rules: Healthy ranges of metrics.
    """

    def __init__(self, rules: Sequence[HealthRule]) -> None:
        self._rules = list(rules)
        self._broken = {rule.metric: 0 for rule in self._rules}

    def check(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Return a message for every rule broken in ``rows`` consecutive rows, and again after as many more."""
        messages = []
        for rule in self._rules:
            value = metrics.get(rule.metric)
            if value is None or step <= rule.after_steps:
                continue
            self._broken[rule.metric] = 0 if rule.low <= value <= rule.high else self._broken[rule.metric] + 1
            broken = self._broken[rule.metric]
            if broken and broken % rule.rows == 0:
                bound = f"below {rule.low:g}" if value < rule.low else f"above {rule.high:g}"
                messages.append(f"step {step}: {rule.metric} is {value:.4g}, {bound}. {rule.meaning}")
        return messages

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return dict(self._broken)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state` returned; new rules start at 0."""
        self._broken.update({name: count for name, count in state.items() if name in self._broken})


def loss_error(
    folder: Path, *, step: int, loss: Tensor, batches: Sequence[Any], network: nn.Module, rank: int
) -> TrainingError:
    """Save the batches that led to a non-finite loss, and return the error to raise.

    Args:
        folder: Folder of the run; the dump is written there, one per process.
        step: Index of the step.
        loss: Loss of this process, which may be finite if another process's is not.
        batches: Batches of the step.
        network: The network, whose parameters are checked.
        rank: Index of this process.
    """
    ids = [str(name) for batch in batches for name in getattr(batch, "ids", ())]
    bad = [name for name, parameter in network.named_parameters() if not bool(torch.isfinite(parameter).all())]
    dump = folder / f"not-finite-step-{step:08}-process-{rank}.pt"
    content = {
        "step": step,
        "loss": loss.detach().cpu(),
        "ids": ids,
        "inputs": [_tensors(batch) for batch in batches],
        "parameters_not_finite": bad,
    }
    with atomic_path(dump) as temporary:
        torch.save(content, temporary)
    clips = f" The clips of process {rank} were: {', '.join(ids)}." if ids else ""
    weights = f" Weights that were not finite already: {', '.join(bad[:3])}." if bad else ""
    return TrainingError(
        f"step {step}: the loss is not finite ({float(loss):g} in process {rank}).{clips}{weights} The batch is saved "
        f"in {dump}. Earlier checkpoints are good; lower the learning rate, use another precision, or inspect these "
        f"clips"
    )


def _tensors(batch: Any) -> Any:
    """Return the tensors in a batch, on the CPU, in lists and dictionaries, which ``weights_only`` loading accepts."""
    values = to_device(batch, torch.device("cpu"))
    if isinstance(values, (Tensor, str, int, float, bool, type(None))):
        return values
    if isinstance(values, Mapping):
        return {str(name): _tensors(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_tensors(value) for value in values]
    return {name: _tensors(value) for name, value in vars(values).items()}
