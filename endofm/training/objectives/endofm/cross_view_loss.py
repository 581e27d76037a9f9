"""Cross-view loss, the running centre of the teacher's output, and measures of collapse."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from endofm.errors import InputError


class CrossViewLoss(nn.Module):
    """Cross-entropy between the teacher's output on a global view and the student's on every other view.

    ``q = softmax((teacher - center) / teacher_temp)`` and ``p = log_softmax(student / student_temp)``; the loss is the
    mean of ``- sum_k q_k p_k`` over clips and over all pairs of a teacher's view and another view (DINO, arXiv
    2104.14294, equation 2; Endo-FM, arXiv 2306.16741, has the pairs of both L_cv and L_dm in this one mean).
    Everything is computed in float32.

    Args:
        out_dim: Number of prototypes.
        teacher_views: Number of views that the teacher sees: the first of the student's.
        student_temp: Temperature of the student.
        center_momentum: Fraction of the old centre that is kept at an update.

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
        # Centring alone drives towards the uniform output, a low temperature towards a single prototype: the two
        # collapses balance each other (DINO, section 3.1, "Avoiding collapse").
        return ((teacher.detach().float() - self.center) / teacher_temp).softmax(dim=-1)

    def forward(self, student: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar. The centre is not changed.

        Args:
            student: Logits ``(views * clips, out_dim)``, ordered by view, then by clip.
            targets: Result of :meth:`targets`, ``(teacher_views * clips, out_dim)``, in the same order.

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
        # The sum over pairs i != v factors. For one clip and prototype
        #     sum_{i != v} q_i p_v  =  (sum_i q_i) (sum_v p_v)  -  sum_i q_i p_i,
        # which is two products of the size of a batch instead of one for each of the teacher_views * (views - 1) pairs.
        all_pairs = (q.sum(dim=0) * log_p.sum(dim=0)).sum()
        same_view = (q * log_p[: self.teacher_views]).sum()
        # The minus sign of the cross-entropy is in the order of the difference.
        loss: Tensor = (same_view - all_pairs) / (clips * self.teacher_views * (views - 1))
        return loss

    @torch.no_grad()
    def collect(self, teacher: Tensor) -> None:
        """Add the teacher's logits ``(rows, out_dim)`` to the sum for the next :meth:`update_center`."""
        total = teacher.detach().float().sum(dim=0)
        # Sum and count travel in one tensor, so that one collective is enough.
        packed = torch.cat((total, total.new_tensor([float(len(teacher))])))
        self._collected = packed if self._collected is None else self._collected + packed

    @torch.no_grad()
    def update_center(self) -> None:
        """Move the centre towards the mean of all logits collected since the last call, over all processes.

        ``center = m * center + (1 - m) * mean(teacher)`` (DINO, equation 4).
        """
        if self._collected is None:
            return
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self._collected)
        # Total over count rather than the mean of means: batches of different size (clips that could not be decoded)
        # then weigh as many rows as they have.
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
    """Return the mutual information of row and prototype in nats, a scalar from 0 to ``log(rows)``.

    The entropy of the mean distribution minus the mean entropy, of distributions ``(rows, out_dim)``. A value of 0
    indicates collapse of either kind: all rows uniform, or all rows on the same prototypes.
    """
    entropy: Tensor = torch.special.entr(targets.mean(dim=0)).sum()
    # Non-negative by Jensen's inequality; rounding can make it slightly less than 0.
    return (entropy - mean_entropy(targets)).clamp_min(0)
