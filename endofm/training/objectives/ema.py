"""Exponential moving average of a student's weights: the teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.training.engine.distributed import local_parts


class MovingAverage:
    """Keeps the parameters of a teacher an exponential moving average of a student's.

    Build it when both modules are on their final device; under FSDP both must be sharded alike.

    Args:
        teacher: Module that is updated; its parameters are set not to require gradients.
        student: Module with the same parameters.

    Raises:
        InputError: If the two have different parameters.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        averaged, trained = dict(teacher.named_parameters()), dict(student.named_parameters())
        if {n: p.shape for n, p in averaged.items()} != {n: p.shape for n, p in trained.items()}:
            different = sorted(set(averaged) ^ set(trained)) or [
                n for n in averaged if averaged[n].shape != trained[n].shape
            ]
            raise InputError(
                f"teacher and student must have the same parameters; they differ in {', '.join(different[:4])}"
            )
        for parameter in averaged.values():
            parameter.requires_grad_(False)
        self.teacher: list[Tensor] = list(averaged.values())
        self.student: list[Tensor] = [trained[name] for name in averaged]

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Set ``teacher = momentum * teacher + (1 - momentum) * student`` (DINO, arXiv 2104.14294, section 3.1)."""
        # lerp(t, s, w) = t + w (s - t). The _foreach_ form does all tensors in a few kernels. The average is linear and
        # element by element, so under FSDP each process updates its own shards without communication.
        torch._foreach_lerp_(local_parts(self.teacher), local_parts(self.student), 1 - momentum)
