"""What the hub has to know of a task, and what it finds in an original checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from endofm.config import EncoderConfig, HeadConfig, ModelConfig, PreprocessConfig
from endofm.hub.state_dict import Shape, check_shapes
from endofm.task_table import get_task, task_names

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """The model found in a checkpoint.

    Attributes:
        tensors: Its tensors by the names of this package.
        encoder: Architecture.
        preprocess: Frames to clip, as the original uses such files.
        head: What follows the encoder; None for an encoder alone.
        layout: What kind of file it is, in words.
        part: Entry that was taken, empty for a flat file.
        left_out_tensors: Tensors of the same part that were not taken, by their names in the file.
        left_out_entries: Other entries of the file.
    """

    tensors: dict[str, Tensor]
    encoder: EncoderConfig
    preprocess: PreprocessConfig
    head: HeadConfig | None
    layout: str
    part: str
    left_out_tensors: tuple[str, ...]
    left_out_entries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a user says about a checkpoint that its tensors do not tell.

    Attributes:
        part: ``"teacher"`` or ``"student"`` of a training checkpoint.
        num_heads: Attention heads per block; heads of width 64 by default.
        labels: Names of the classes; numbered ones by default.
        known: Configuration of the record that the file belongs to; the tensors have to be exactly those of it.
        where: Name of the file, for messages.
    """

    part: str | None = None
    num_heads: int | None = None
    labels: Sequence[str] | None = None
    known: ModelConfig | None = None
    where: str = "checkpoint"


class HubTask(ABC):
    """A task as the hub sees it. The table is in :mod:`endofm.task_table`.

    Attributes:
        name: Name of the task, as ``config.json`` has it.
        pipeline_tag: The hub's word for such models (https://huggingface.co/tasks).
        title: Heading of the card of a model without a name.
        intended_use: What the model is for, the end of a sentence that begins "Intended for".
    """

    name: ClassVar[str]
    pipeline_tag: ClassVar[str]
    title: ClassVar[str]
    intended_use: ClassVar[str]

    @abstractmethod
    def matches(self, content: Mapping[str, Any]) -> bool:
        """Say whether the content of an original checkpoint is laid out as this task's."""

    @abstractmethod
    def read(self, content: Mapping[str, Any], options: ReadOptions) -> FoundModel:
        """Return the model in the content of an original checkpoint, complete, finite and of the right shapes.

        Raises:
            CheckpointFormatError: If the content is not of a layout that is known, or holds values that are not finite.
            StateDictError: If the tensors are not exactly those of the architecture.
            ConfigError: If the architecture cannot be read off the tensors.
            InputError: If the options do not fit.
        """

    @abstractmethod
    def usage(self, config: ModelConfig) -> str:
        """Return the lines of Python that follow the loading of ``model`` in the card's example."""

    @abstractmethod
    def output(self, config: ModelConfig) -> str:
        """Return what the model gives for a clip, as the end of a sentence."""

    def shapes(self, config: ModelConfig) -> dict[str, Shape] | None:
        """Return the shape of every tensor by name; None if only the built network knows them."""
        return None

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return what to tell of the head in a card and by ``endofm info``, by a word for each."""
        return {"labels": ", ".join(config.head.labels)} if config.head else {}

    def check(self, config: ModelConfig, state_dict: Mapping[str, Tensor], *, where: str) -> None:
        """Raise unless the tensors are exactly those of the configuration, as far as shapes are known without a model.

        Raises:
            StateDictError: Naming the first few tensors that are missing, unexpected or of another shape.
        """
        expected = self.shapes(config)
        if expected is not None:
            check_shapes(expected, state_dict, where=where, what=describe(config))


def describe(config: ModelConfig) -> str:
    """Return the model in words, for messages: ``an encoder of width 768 with 12 blocks``."""
    encoder = f"an encoder of width {config.encoder.embed_dim} with {config.encoder.depth} blocks"
    if config.head is None:
        return encoder
    return f"a {config.task} model of {config.head.num_classes} classes on {encoder}"


def hub_task(name: str) -> HubTask:
    """Return the checkpoint layouts and card words of a task."""
    task: HubTask = get_task(name).load("layout")()
    return task


def hub_tasks() -> list[HubTask]:
    """Return the layouts of all tasks, in the order in which a checkpoint is matched against them."""
    # Last registered first, so that the encoder alone, the first task, takes what no other layout matches.
    return [hub_task(name) for name in reversed(task_names())]
