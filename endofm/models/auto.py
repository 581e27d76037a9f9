"""Loading a model without naming its class: the configuration of the weights selects it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from endofm.kernels.precision import resolve_precision, usable_device
from endofm.models.pretrained import Pretrained
from endofm.task_table import get_task


def load_model(source: str | Path, **options: Any) -> Pretrained:
    """Load a model with the class of its task.

    Args:
        source: As for :meth:`Pretrained.from_pretrained`.
        **options: The other arguments of that method.

    Returns:
        ``EndoFM``, ``EndoFMForVideoClassification`` or another of the public model classes; for an encoder of another
        kind what :func:`~endofm.tasks.features.model.load_encoder` returns.

    Raises:
        WeightsError: As there.
    """
    from endofm.hub.resolve import load_weights

    target = {key: options.pop(key) for key in ("device", "precision") if key in options}
    # Before the download, which may take minutes.
    resolve_precision(target.get("precision", "exact"), usable_device(target.get("device")))
    loaded = load_weights(source, **options)
    return model_class(loaded.config.task).from_loaded(loaded, **target)


def model_class(task: str) -> type[Pretrained]:
    """Return the model class that loads every model of a task."""
    selected: type[Pretrained] = get_task(task).load("model")
    return selected.loading_class()
