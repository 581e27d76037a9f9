"""Layouts of published checkpoints and text for the model card, one class per task.

Every task has a subclass of :class:`TaskLayout` in ``endofm/tasks/<task>/layout.py``, which
:mod:`endofm.task_table` names. A layout renames tensors and reads the architecture off them; whether they are complete
is decided by the network alone (:func:`check_tensors`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from endofm.config import BaseEncoderConfig, HeadConfig, ModelConfig, PreprocessConfig
from endofm.errors import InputError, quoted
from endofm.task_table import FEATURES, get_task, task_names

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model as it was found in a published checkpoint.

    Attributes:
        tensors: Its tensors by the names of this package.
        encoder: Architecture.
        preprocess: Preprocessing that the published code uses for such files.
        head: Configuration of the head; None for an encoder alone.
        layout: Kind of file, for messages.
        part: Entry that was read, empty for a flat file.
        left_out_tensors: Tensors of the same part that were not used, by their names in the file.
        left_out_entries: Other entries of the file.
    """

    tensors: dict[str, Tensor]
    encoder: BaseEncoderConfig
    preprocess: PreprocessConfig
    head: HeadConfig | None
    layout: str
    part: str
    left_out_tensors: tuple[str, ...]
    left_out_entries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Facts about a checkpoint that its tensors do not contain.

    Attributes:
        part: Entry to read, such as ``"student"`` of a training checkpoint.
        num_heads: Attention heads per block; heads of width 64 by default.
        labels: Names of the classes; numbered ones by default.
        registered: Configuration of the record that the file belongs to, which is used instead of inferring one.
        left_out: Tensors that the record names as no part of the model, by name, or by prefix if it ends with a dot.
        source: Name of the file, for messages.
    """

    part: str | None = None
    num_heads: int | None = None
    labels: Sequence[str] | None = None
    registered: ModelConfig | None = None
    left_out: tuple[str, ...] = ()
    source: str = "checkpoint"

    def labels_or(self, default: Iterable[str], kind: str) -> tuple[str, ...]:
        """Return the labels that were given, or else the default ones.

        Args:
            default: A label for every class of the file.
            kind: Kind of model, for the message.

        Raises:
            InputError: If the number of labels given is not that of the classes.
        """
        default = tuple(default)
        if self.labels is None:
            return default
        if len(self.labels) != len(default):
            raise InputError(
                f"{self.source}: the {kind} has {len(default)} classes, but {len(self.labels)} labels are given "
                f"({', '.join(self.labels)})"
            )
        return tuple(self.labels)

    def refuse_part(self, kind: str) -> None:
        """Raise if a part was requested of a file that has none.

        Raises:
            InputError: Naming the kind of file.
        """
        if self.part is not None:
            raise InputError(f"{self.source}: {kind} has no part {quoted(self.part)}")


class TaskLayout(ABC):
    """Checkpoint layout and card text of a task.

    Attributes:
        name: Name of the task, as in ``config.json``.
        pipeline_tag: The hub's tag for such models (https://huggingface.co/tasks).
        title: Heading of the card of a model without a name.
        intended_use: Purpose of the model, the end of a sentence that begins "Intended for".
    """

    name: ClassVar[str]
    pipeline_tag: ClassVar[str]
    title: ClassVar[str]
    intended_use: ClassVar[str]

    @abstractmethod
    def matches(self, content: Mapping[str, Any]) -> bool:
        """Return whether the content of a published checkpoint has the layout of this task."""

    @abstractmethod
    def read(self, content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
        """Return the model in the content of a published checkpoint, its tensors renamed and finite.

        Raises:
            CheckpointFormatError: If the content has no supported layout, or holds values that are not finite.
            ConfigError: If the architecture cannot be inferred from the tensors.
            InputError: If the options do not fit the file.
        """

    @abstractmethod
    def usage(self, config: ModelConfig) -> str:
        """Return the lines of Python that follow the loading of ``model`` in the card's example."""

    @abstractmethod
    def output(self, config: ModelConfig) -> str:
        """Return a description of the model's output for a clip, the end of a sentence."""

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return facts about the head for the card and ``endofm info``, each under a short title."""
        return {"labels": ", ".join(config.head.labels)} if config.head else {}


def task_layout(name: str) -> TaskLayout:
    """Return the layout of a task."""
    layout: TaskLayout = get_task(name).load("layout")()
    return layout


def task_layouts() -> list[TaskLayout]:
    """Return the layouts of all tasks, in the order in which a checkpoint is matched against them."""
    # Last registered first, so that the encoder alone, the first task, takes what no other layout matches.
    return [task_layout(name) for name in reversed(task_names())]


def check_tensors(config: ModelConfig, state_dict: Mapping[str, Tensor], *, source: str) -> None:
    """Raise unless tensors are exactly those of the network that a configuration describes.

    The network is built without memory (on the ``meta`` device), so that no second description of it is needed.

    Args:
        config: Configuration.
        state_dict: Tensors by name.
        source: Name of the file, for messages.

    Raises:
        StateDictError: Naming the first few tensors that are missing, unexpected or of another shape.
    """
    # By the table, because models are on a higher floor than the hub.
    get_task(config.task).load("model").check_tensors(config, state_dict, source=source)


def count_parameters(encoder: BaseEncoderConfig) -> int:
    """Return the number of parameters of an encoder."""
    # The encoder's class needs torch alone, whatever the task is; a detector would import torchvision to be counted.
    count: int = get_task(FEATURES).load("model").count_parameters(encoder)
    return count


def rename(name: str, table: Iterable[tuple[str, str]]) -> str:
    """Return a tensor's name after the first rule of a table that fits.

    Args:
        name: Name of the tensor. A name that no rule fits is kept, so that a strict check reports it.
        table: Pairs of an old and a new name, or of two prefixes, which end with a dot.
    """
    for old, new in table:
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name[len(old) :]
    return name
