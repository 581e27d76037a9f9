"""The published pre-training step, restated plainly: eager attention, one loop per pair of views and per tensor.

It computes the same as :mod:`endofm.training.objectives.endofm`, from the same weights, and is the reference of
``pretraining_step.py``. Tokens are one sequence per clip, class token first, then patches with time fastest; each kind
of attention rearranges them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.training.objectives.endofm.endofm_config import EndoFMObjectiveConfig
from endofm.training.objectives.endofm.projection_head import ProjectionHead


class PlainAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))


class PlainMlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class PlainBlock(nn.Module):
    def __init__(self, config: EncoderConfig, rate: float) -> None:
        super().__init__()
        dim, eps = config.embed_dim, config.layer_norm_eps
        self.rate = rate
        self.temporal_norm1 = nn.LayerNorm(dim, eps=eps)
        self.temporal_attn = PlainAttention(dim, config.num_heads)
        self.temporal_fc = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = PlainAttention(dim, config.num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = PlainMlp(dim, config.mlp_dim)

    def drop(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype) >= self.rate
        return x / (1 - self.rate) * keep

    def forward(self, x: Tensor, time: int) -> Tensor:
        batch, _, dim = x.shape
        cls_token, patches = x[:, :1], x[:, 1:]
        count = patches.shape[1] // time
        # Over time: every place is a sequence.
        sequences = patches.reshape(batch * count, time, dim)
        mixed = self.drop(self.temporal_attn(self.temporal_norm1(sequences))).reshape(batch, count * time, dim)
        patches = patches + self.temporal_fc(mixed)
        # Over space: every frame is a sequence, with the class token in front.
        frames = patches.reshape(batch, count, time, dim).permute(0, 2, 1, 3).reshape(batch * time, count, dim)
        repeated = cls_token.repeat(1, time, 1).reshape(batch * time, 1, dim)
        mixed = self.drop(self.attn(self.norm1(torch.cat((repeated, frames), dim=1))))
        cls_residual = mixed[:, 0].reshape(batch, time, dim).mean(dim=1, keepdim=True)
        residual = mixed[:, 1:].reshape(batch, time, count, dim).permute(0, 2, 1, 3).reshape(batch, count * time, dim)
        x = torch.cat((cls_token, patches), dim=1) + torch.cat((cls_residual, residual), dim=1)
        return x + self.drop(self.mlp(self.norm2(x)))


class PlainEncoder(nn.Module):
    def __init__(self, config: EncoderConfig, rate: float) -> None:
        super().__init__()
        self.size = config.patch_size
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, config.embed_dim, self.size, self.size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid_size**2, config.embed_dim))
        self.time_embed = nn.Parameter(torch.zeros(1, config.num_frames, config.embed_dim))
        rates = torch.linspace(0, rate, config.depth).tolist()
        self.blocks = nn.ModuleList(PlainBlock(config, r) for r in rates)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)

    def forward(self, clip: Tensor) -> Tensor:
        batch, _, time, height, width = clip.shape
        frames = clip.permute(0, 2, 1, 3, 4).reshape(batch * time, 3, height, width)
        x = self.patch_embed.proj(frames).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(batch * time, -1, -1), x), dim=1)
        positions = self.pos_embed
        if x.shape[1] != positions.shape[1]:
            side = math.isqrt(positions.shape[1] - 1)
            table = positions[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
            table = F.interpolate(table, (height // self.size, width // self.size), mode="nearest")
            positions = torch.cat((positions[:, :1], table.flatten(2).transpose(1, 2)), dim=1)
        x = x + positions
        cls_token = x[:batch, :1]
        count = x.shape[1] - 1
        patches = x[:, 1:].reshape(batch, time, count, -1).permute(0, 2, 1, 3).reshape(batch * count, time, -1)
        times = self.time_embed
        if time != times.shape[1]:
            times = F.interpolate(times.transpose(1, 2), size=time, mode="nearest").transpose(1, 2)
        patches = (patches + times).reshape(batch, count * time, -1)
        x = torch.cat((cls_token, patches), dim=1)
        for block in self.blocks:
            x = block(x, time)
        return self.norm(x)[:, 0]


class PlainNetwork(nn.Module):
    def __init__(self, encoder: EncoderConfig, config: EndoFMObjectiveConfig, rate: float) -> None:
        super().__init__()
        self.backbone = PlainEncoder(encoder, rate)
        self.head = ProjectionHead(encoder.embed_dim, config.head)  # nothing to gain in it, so it is ours

    def forward(self, views: list[Tensor]) -> Tensor:
        outputs, position = [], 0
        while position < len(views):  # views of one shape that follow each other share a call
            stop = position + 1
            while stop < len(views) and views[stop].shape == views[position].shape:
                stop += 1
            outputs.append(self.backbone(torch.cat(views[position:stop])))
            position = stop
        return self.head(torch.cat(outputs))


class PlainStep:
    """One training step after another on given views.

    Args:
        encoder: Architecture.
        config: The objective.
        state: Weights of both networks, by the names of ours.
        bf16: Run the forward under bfloat16 autocast.
    """

    def __init__(
        self, encoder: EncoderConfig, config: EndoFMObjectiveConfig, state: dict[str, Tensor], bf16: bool
    ) -> None:
        self.config, self.bf16 = config, bf16
        self.student = PlainNetwork(encoder, config, config.drop_path_rate)
        self.student.load_state_dict(state)
        self.teacher = PlainNetwork(encoder, config, config.drop_path_rate if config.teacher_drop_path else 0.0)
        self.teacher.load_state_dict(state)
        self.teacher.requires_grad_(False)
        self.center = torch.zeros(1, config.head.out_dim)
        trained = [(n, p) for n, p in self.student.named_parameters() if p.requires_grad]
        kept = [p for n, p in trained if n.endswith(".bias") or p.ndim == 1]
        decayed = [p for n, p in trained if not (n.endswith(".bias") or p.ndim == 1)]
        groups = [{"params": decayed, "weight_decay": 0.04}, {"params": kept, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-5, foreach=False, fused=False)

    def to(self, device: torch.device) -> PlainStep:
        self.student.to(device)
        self.teacher.to(device)
        self.center = self.center.to(device)
        return self

    def __call__(self, views: list[Tensor]) -> float:
        config = self.config
        with torch.autocast(views[0].device.type, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                teacher = self.teacher(views[:2])
            student = self.student(views)
            rows = (student.float() / config.student_temp).chunk(len(views))
            targets = ((teacher.float() - self.center) / config.teacher_temp).softmax(-1).chunk(2)
            total, pairs = torch.zeros((), device=student.device), 0
            for i, target in enumerate(targets):
                for v, row in enumerate(rows):
                    if v != i:
                        total = total + (-target * row.log_softmax(-1)).sum(-1).mean()
                        pairs += 1
            loss = total / pairs
            self.center = 0.9 * self.center + 0.1 * teacher.float().mean(dim=0, keepdim=True)
        value = loss.item()
        if not math.isfinite(value):
            raise RuntimeError("the loss is not finite")
        self.optimizer.zero_grad()
        loss.backward()
        for parameter in self.student.parameters():
            if parameter.grad is not None:
                norm = parameter.grad.norm()
                factor = config.clip_gradient / (norm.item() + 1e-6)
                if factor < 1:
                    parameter.grad.mul_(factor)
        self.optimizer.step()
        with torch.no_grad():
            for ours, theirs in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
                theirs.mul_(0.996).add_(0.004 * ours.detach())
        return value
