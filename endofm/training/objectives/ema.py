"""A teacher whose weights are a running average of a student's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.training.objectives.gradients import local_parts


class MovingAverage:
    """Keeps the parameters of one module a running average of another's, all tensors in a few kernels.

    Build it when both lie where they stay; under FSDP both must be shared out alike.

    Args:
        teacher: Module that is written to; its parameters are set not to require gradients.
        student: Module of the same structure.

    Raises:
        InputError: If the two have other parameters.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        there, here = dict(teacher.named_parameters()), dict(student.named_parameters())
        if {n: p.shape for n, p in there.items()} != {n: p.shape for n, p in here.items()}:
            odd = sorted(set(there) ^ set(here)) or [n for n in there if there[n].shape != here[n].shape]
            raise InputError(f"teacher and student must have the same parameters; they differ in {', '.join(odd[:4])}")
        for parameter in there.values():
            parameter.requires_grad_(False)
        self.teacher: list[Tensor] = list(there.values())
        self.student: list[Tensor] = [here[name] for name in there]

    @torch.no_grad()
    def copy(self) -> None:
        """Set the teacher to the student."""
        torch._foreach_copy_(local_parts(self.teacher), local_parts(self.student))

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Set ``teacher = momentum * teacher + (1 - momentum) * student``."""
        torch._foreach_lerp_(local_parts(self.teacher), local_parts(self.student), 1 - momentum)
