"""The interface of a fine-tuning recipe: what :func:`~endofm.training.finetune.run.finetune` needs of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Sized
from typing import Any, ClassVar, Generic, TypeVar

from endofm.data.loader import ClipSource
from endofm.evaluation.report import Report
from endofm.models.pretrained import Pretrained
from endofm.training.finetune.shared_config import FineTuneConfig
from endofm.training.finetune.subsets import Subsets
from endofm.training.finetune.supervised_task import FineTuningTask
from endofm.training.transfer.base import Transfer

Config = TypeVar("Config", bound=FineTuneConfig)
Data = TypeVar("Data", bound=Sized)


class TaskRecipe(ABC, Generic[Config, Data]):
    """The steps of a fine-tuning run that differ from task to task.

    A recipe has no state: everything that a run depends on is in its configuration. The task table names an instance
    as ``finetuning`` and the class of its configuration as ``finetuning_config``.

    Attributes:
        unit: Plural of the items that the sets consist of, for the report.
    """

    unit: ClassVar[str] = "clips"

    @abstractmethod
    def read_subsets(self, config: Config, *, progress: bool) -> Subsets[Data]:
        """Read the labelled sets, hold out a validation set if none is named, and check all of them.

        Raises:
            InputError: If a set cannot be read or the sets overlap.
        """

    @abstractmethod
    def build_model(self, config: Config, train: Data) -> Pretrained:
        """Return the initial model; new weights are drawn from torch's global generator.

        Raises:
            WeightsError: If the initial weights cannot be loaded.
        """

    def freeze(self, config: Config, model: Pretrained) -> None:
        """Freeze parameters that the configuration excludes from training, after the transfer method."""
        return

    @abstractmethod
    def training_data(self, config: Config, train: Data, model: Pretrained) -> ClipSource:
        """Return the source of training batches."""

    @abstractmethod
    def training_task(
        self, config: Config, model: Pretrained, transfer: Transfer, subsets: Subsets[Data]
    ) -> FineTuningTask:
        """Return loss and validation for the training loop."""

    @abstractmethod
    def reports(
        self,
        config: Config,
        model: Pretrained,
        data: Data,
        *,
        settings: Mapping[str, Any],
        notes: Sequence[str],
        progress: bool,
    ) -> Mapping[str, Report]:
        """Evaluate the trained model.

        Args:
            config: All settings.
            model: The exported model, loaded again.
            data: The set to report on.
            settings: Settings that all reports have.
            notes: Notes that all reports have.
            progress: Show progress.

        Returns:
            Reports by the name of their folder in the run's; ``report`` is the main one.
        """
