"""The cross-view loss and the running centre of the teacher's output."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from endofm.errors import InputError


class CrossViewLoss(nn.Module):
    """Cross-entropy between the teacher's output on a global view and the student's on every other view.

    ``q = softmax((teacher - center) / teacher_temp)`` and ``p = log_softmax(student / student_temp)``; the loss is the
    mean over all pairs of one of the teacher's views with another view, and over clips, of ``- sum_k q_k p_k``
    (DINO, arXiv 2104.14294, equation 2; Endo-FM, arXiv 2306.16741, has the pairs of its L_cv and L_dm in the one mean).
    Everything is computed in float32.

    Args:
        out_dim: Number of prototypes.
        teacher_views: Views that the teacher sees: the first of the student's.
        student_temp: Temperature of the student.
        center_momentum: How much of the old centre is kept at an update.

    Attributes:
        center: Running mean of the teacher's logits over all processes, ``(1, out_dim)``; part of the state.
    """

    center: Tensor

    def __init__(
        self, out_dim: int, *, teacher_views: int = 2, student_temp: float = 0.1, center_momentum: float = 0.9
    ) -> None:
        super().__init__()
        self.teacher_views = teacher_views
        self.student_temp = student_temp
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(1, out_dim))
        self._collected: Tensor | None = None

    def targets(self, teacher: Tensor, teacher_temp: float) -> Tensor:
        """Return the teacher's distributions for logits ``(rows, out_dim)``, without gradient."""
        return ((teacher.detach().float() - self.center) / teacher_temp).softmax(dim=-1)

    def forward(self, student: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar. The centre is left as it is.

        Args:
            student: Logits ``(views * clips, out_dim)``, ordered by view, then by clip.
            targets: What :meth:`targets` made of the teacher's logits, ``(teacher_views * clips, out_dim)``, likewise.

        Raises:
            InputError: If the numbers of rows do not fit together.
        """
        clips, rest = divmod(len(targets), self.teacher_views)
        views = len(student) // clips if clips else 0
        if rest or views * clips != len(student) or views < max(self.teacher_views, 2):
            raise InputError(
                f"{len(student)} rows of the student and {len(targets)} of the teacher are not the views of one batch "
                f"with {self.teacher_views} teacher's views"
            )
        log_p = (student.float() / self.student_temp).log_softmax(dim=-1).view(views, clips, -1)
        q = targets.view(self.teacher_views, clips, -1)
        # All pairs at once: the sum over v != i is the sum over all v less v = i.
        every = (q.sum(dim=0) * log_p.sum(dim=0)).sum()
        same = (q * log_p[: self.teacher_views]).sum()
        loss: Tensor = (same - every) / (clips * self.teacher_views * (views - 1))
        return loss

    @torch.no_grad()
    def collect(self, teacher: Tensor) -> None:
        """Keep the sum of the teacher's logits ``(rows, out_dim)`` for the next :meth:`update_center`."""
        total = teacher.detach().float().sum(dim=0)
        packed = torch.cat((total, total.new_tensor([float(len(teacher))])))
        self._collected = packed if self._collected is None else self._collected + packed

    @torch.no_grad()
    def update_center(self) -> None:
        """Move the centre towards the mean of all logits collected since the last call, over all processes."""
        if self._collected is None:
            return
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self._collected)
        mean = self._collected[:-1] / self._collected[-1]
        self.center.lerp_(mean.unsqueeze(0), 1 - self.center_momentum)
        self._collected = None


@torch.no_grad()
def mean_entropy(targets: Tensor) -> Tensor:
    """Return the mean entropy in nats of distributions ``(rows, out_dim)``, a scalar from 0 to ``log(out_dim)``."""
    entropy: Tensor = torch.special.entr(targets).sum(dim=-1).mean()
    return entropy


@torch.no_grad()
def mutual_information(targets: Tensor) -> Tensor:
    """Return how much distributions ``(rows, out_dim)`` tell of their row, in nats, a scalar from 0 to ``log(rows)``.

    It is the entropy of their mean less their mean entropy. 0 tells of either collapse: all rows uniform, or all rows
    on the same prototypes.
    """
    entropy: Tensor = torch.special.entr(targets.mean(dim=0)).sum()
    return (entropy - mean_entropy(targets)).clamp_min(0)
