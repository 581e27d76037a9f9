"""The Endo-FM encoder: a vision transformer for clips with attention divided into time and space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from endofm.config import BaseEncoderConfig, EncoderConfig, ViTConfig
from endofm.errors import ConfigError, InputError, quoted
from endofm.kernels.backend import EAGER, Backend
from endofm.kernels.precision import BackendSelector, Precision, resolve_precision
from endofm.layers.block import DividedSpaceTimeBlock, resize_position_embedding, resize_time_embedding
from endofm.layers.packing import Packing
from endofm.outputs import EncoderOutput


class Transformer(nn.Module):
    """Base of all transformers: class token, blocks and final norm, run by a backend of the selected precision.

    A subclass registers its embeddings and then calls :meth:`_add_blocks`; parameters are saved, and random weights
    drawn, in that order.

    Args:
        config: Architecture.

    Attributes:
        encoder_config: The architecture.
        embed_dim: Width of the tokens.
        grad_checkpointing: Whether blocks are recomputed in the backward pass.
        backends: Selects the backend that multiplies.
    """

    blocks: nn.ModuleList
    norm: nn.LayerNorm

    encoder_config: BaseEncoderConfig

    def __init__(self, config: BaseEncoderConfig) -> None:
        super().__init__()
        self.encoder_config = config
        self.embed_dim = config.embed_dim
        self.grad_checkpointing = False
        self.backends = BackendSelector()

    @property
    def precision(self) -> Precision:
        """Numerical precision in inference; see :mod:`endofm.kernels.precision`."""
        return self.backends.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self.backends.precision = resolve_precision(precision, next(self.parameters()).device)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def draw_linear_weights(self) -> None:
        """Draw new weights of all linear layers."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                draw_linear(module)

    def _add_blocks(self, block: Callable[[Any, float], nn.Module]) -> None:
        config = self.encoder_config
        assert isinstance(config, ViTConfig)
        # Stochastic depth grows linearly from 0 in the first block to the configured rate in the last.
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(block(config, config.drop_path_rate * i / last) for i in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)

    def _family_config(self) -> EncoderConfig:
        assert isinstance(self.encoder_config, EncoderConfig)  # these blocks are those of the Endo-FM family
        return self.encoder_config

    def _insert_adapters(self) -> None:
        """Insert the configured adapters; called after random weights are drawn, which adapters are not part of."""
        adapter = self._family_config().st_adapter
        if adapter is not None:
            from endofm.layers.st_adapter import insert_st_adapters

            insert_st_adapters(self.blocks, self.embed_dim, adapter)

    def _run_block(self, step: Callable[..., Tensor], x: Tensor, backend: Backend) -> Tensor:
        """Run a block, or one of its other forward methods, recomputing it in the backward pass if so configured."""
        if backend is not EAGER:
            return step(x, backend)
        if self.grad_checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(step, x, use_reentrant=False)
            return recomputed
        return step(x)


class PatchEmbed(nn.Module):
    """Non-overlapping patches of every frame, projected by one convolution."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(frames, channels, height, width)`` to ``(frames, patches, embed_dim)``, row by row."""
        out: Tensor = self.proj(frames)
        return out.flatten(2).transpose(1, 2)


class ClipEncoder(Transformer):
    """Base of the encoders of clips, whatever they compute; what tasks rely on.

    Args:
        config: Architecture.

    Attributes:
        patch_size: Side in pixels of what a patch token stands for.
        num_frames: Frames per clip that the weights are for.
        tubelet_size: Frames that a step of the patch tokens' time axis stands for.
    """

    tubelet_size = 1

    def __init__(self, config: BaseEncoderConfig) -> None:
        super().__init__(config)
        self.patch_size = config.patch_size
        self.num_frames = config.num_frames

    def forward(self, clip: Tensor) -> Tensor:
        """Embed clips; see :meth:`VideoTransformer.forward`."""
        return self.forward_features(clip).cls_token

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid; arguments and errors as :meth:`forward`."""
        raise NotImplementedError

    def require_clip(self, clip: Tensor) -> None:
        """Raise unless a clip has the form that this encoder takes and is on its device.

        Raises:
            InputError: Naming what is wrong with the clip.
        """
        require_clip(clip, in_chans=self.encoder_config.in_chans, patch_size=self.patch_size)
        device = next(self.parameters()).device
        if clip.device != device:
            raise InputError(f"the clip is on {clip.device}, the model on {device}; move one of them")


class PatchTransformer(ClipEncoder):
    """Base of the encoders of Endo-FM's family: a transformer over the patches of every frame.

    Args:
        config: Architecture.
    """

    encoder_config: EncoderConfig

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.patch_embed = PatchEmbed(config.patch_size, config.in_chans, config.embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.grid_size**2, config.embed_dim))

    def _embed_patches(self, clip: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return patches ``(time, batch, patches, embed_dim)`` without positions, and their grid (rows, columns).

        Raises:
            InputError: If the clip has another form.
        """
        self.require_clip(clip)
        batch, _, time, height, width = clip.shape
        # Time becomes the leading axis, so that attention over space and over time are views of the same tokens.
        frames = clip.to(self.pos_embed.dtype).permute(2, 0, 1, 3, 4).flatten(0, 1)  # (T B) C H W
        patches = self.patch_embed(frames).unflatten(0, (time, batch))  # T B N D
        return patches, (height // self.patch_size, width // self.patch_size)


class VideoTransformer(PatchTransformer):
    """Divided space-time video transformer.

    Computes what the published Endo-FM backbone computes (arXiv 2306.16741; code at github.com/med-air/Endo-FM,
    commit 206427e) and has its parameter names. Clips may have any number of frames, and any height and width that are
    multiples of the patch size: position and time embeddings are resized by nearest neighbour, as published.

    Args:
        config: Architecture; the default is the published ViT-B/16 for 8 frames of 224 x 224.

    Attributes:
        embed_dim: Width of the tokens and of the clip embedding.
        patch_size: Side of a patch in pixels.
        num_frames: Frames that the time embedding is for.
        precision: Numerical precision in inference: ``"exact"`` (the default), ``"bfloat16"`` or ``"int8"``; see
            :mod:`endofm.kernels.precision`. Where gradients are recorded, the modules themselves are always called.

    Example:
        >>> encoder = VideoTransformer(EncoderConfig.preset("tiny"))
        >>> encoder(torch.zeros(1, 3, 8, 224, 224)).shape
        torch.Size([1, 192])
    """

    def __init__(self, config: EncoderConfig | None = None) -> None:
        config = config or EncoderConfig()
        if config.attention_type != "divided_space_time":
            raise ConfigError(f"VideoTransformer has divided attention, not {quoted(config.attention_type)}")
        super().__init__(config)
        self.time_embed = nn.Parameter(torch.empty(1, config.num_frames, config.embed_dim))
        self._add_blocks(DividedSpaceTimeBlock)
        self.init_weights()
        self._insert_adapters()

    def init_weights(self) -> None:
        """Draw new weights by the published rule.

        Truncated normals of standard deviation 0.02; ``time_embed`` and every ``temporal_fc`` start at zero, so that
        the new network is a per-frame ViT whose class token is averaged over frames.
        """
        # All layers are reset, so that the result does not depend on the weights before.
        for module in self.modules():
            if isinstance(module, nn.Linear):
                draw_linear(module)
            elif isinstance(module, (nn.LayerNorm, nn.Conv2d)):
                module.reset_parameters()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.zeros_(self.time_embed)
        for block in self._blocks():
            nn.init.zeros_(block.temporal_fc.weight)
            nn.init.zeros_(block.temporal_fc.bias)

    def forward(self, clip: Tensor) -> Tensor:
        """Embed clips.

        Args:
            clip: ``(batch, channels, time, height, width)``, RGB, normalised by the weights' processor; height and
                width are multiples of the patch size.

        Returns:
            Class token after the final norm, ``(batch, embed_dim)``.

        Raises:
            InputError: If the clip has another form.
        """
        *blocks, last = self._blocks()
        x, _ = self.embed(clip)
        backend = self.backends.select(self, x)
        embeddings = []
        for part in backend.split_batch(x, self.encoder_config.mlp_dim):
            for block in blocks:
                part = self._run_block(block, part, backend)
            # Nothing reads the patch tokens after the last block.
            embeddings.append(self.norm(self._run_block(last.forward_cls, part, backend)))
        return _join(embeddings)

    def forward_many(self, clips: Sequence[Tensor]) -> Tensor:
        """Embed batches of clips of several shapes, in training.

        Whatever acts on single tokens runs once for all batches: fewer and larger products than one batch after the
        other.

        Args:
            clips: Each as for :meth:`forward`.

        Returns:
            Class tokens of all clips in order, ``(clips, embed_dim)``; equal to those of :meth:`forward` up to
            rounding.

        Raises:
            InputError: If a batch has another form.
        """
        *blocks, last = self._blocks()
        packing, rows = Packing.of([self.embed(clip)[0] for clip in clips])
        for block in blocks:
            rows = self._run_block(partial(block.forward_packed, packing=packing), rows, EAGER)
        out: Tensor = self.norm(self._run_block(partial(last.forward_cls_packed, packing=packing), rows, EAGER))
        return out

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid; arguments and errors as :meth:`forward`."""
        return self.get_intermediate_layers(clip)[0]

    def get_intermediate_layers(
        self, clip: Tensor, n: int | Sequence[int] = 1, *, norm: bool = True
    ) -> tuple[EncoderOutput, ...]:
        """Return the tokens after selected blocks.

        Args:
            clip: As for :meth:`forward`.
            n: The last ``n`` blocks, or the indices of the blocks (negative ones count from the end).
            norm: Apply the final norm to each.

        Returns:
            One output per block, in ascending order of depth for a number and in the given order for indices.

        Raises:
            InputError: If the clip has another form or a block does not exist.
        """
        # Negative indices count from the last block, as in a sequence.
        depth = len(self.blocks)
        indices = list(range(depth - n, depth)) if isinstance(n, int) else [i + depth if i < 0 else i for i in n]
        if not indices or min(indices) < 0 or max(indices) >= depth:
            raise InputError(
                f"get_intermediate_layers: n={quoted(n)} does not name blocks of an encoder with {depth} blocks"
            )
        x, grid = self.embed(clip)
        backend = self.backends.select(self, x)
        tokens: dict[int, list[Tensor]] = {i: [] for i in indices}
        for part in backend.split_batch(x, self.encoder_config.mlp_dim):
            for i, block in enumerate(self._blocks()[: max(indices) + 1]):
                part = self._run_block(block, part, backend)
                if i in tokens:
                    tokens[i].append((self.norm(part) if norm else part).movedim(0, 1))  # B T 1+N D
        joined = {i: _join(parts) for i, parts in tokens.items()}
        return tuple(EncoderOutput(joined[i][:, 0, 0], torch.unflatten(joined[i][:, :, 1:], 2, grid)) for i in indices)

    def get_last_attention(self, clip: Tensor) -> Tensor:
        """Return the spatial attention weights of the last block, for visualisation.

        Args:
            clip: As for :meth:`forward`.

        Returns:
            ``(batch, time, heads, 1 + patches, 1 + patches)``; rows are queries and sum to 1. Index 0 is the class
            token, patches follow row by row.

        Raises:
            InputError: If the clip has another form.
        """
        *blocks, last = self._blocks()
        x, _ = self.embed(clip)
        backend = self.backends.select(self, x)
        for block in blocks:
            x = self._run_block(block, x, backend)
        return last.spatial_attention(x, backend).transpose(0, 1)

    def embed(self, clip: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn clips into the input of the first block.

        Returns:
            Tokens ``(time, batch, 1 + patches, embed_dim)``, of which row 0 of every frame is the class token, and the
            grid (rows, columns) of patches.

        Raises:
            InputError: If the clip has another form.
        """
        patches, grid = self._embed_patches(clip)
        time, batch = patches.shape[:2]
        method = self.encoder_config.table_resize
        pos_embed = resize_position_embedding(self.pos_embed, grid, method)
        time_embed = resize_time_embedding(self.time_embed, time, method)
        patches = patches + (pos_embed[:, 1:] + time_embed.transpose(0, 1)).unsqueeze(1)
        # The class token has a position but no time. The blocks expect a copy of it in every frame.
        cls_token = (self.cls_token + pos_embed[:, :1]).expand(time, batch, 1, -1)
        return torch.cat((cls_token, patches.to(cls_token.dtype)), dim=2), grid

    def _blocks(self) -> list[DividedSpaceTimeBlock]:
        return list(self.blocks)  # type: ignore[arg-type]


def draw_linear(layer: nn.Linear) -> None:
    """Draw new weights of a linear layer: a truncated normal of standard deviation 0.02, biases 0."""
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def require_clip(clip: Tensor, *, in_chans: int, patch_size: int) -> None:
    """Raise unless a clip has the form that an encoder takes.

    Raises:
        InputError: Naming what is wrong with the clip.
    """
    expected = "(batch, channels, time, height, width)"
    if not isinstance(clip, Tensor):
        raise InputError(f"a clip is a tensor {expected}, got {type(clip).__name__}")
    if clip.is_nested or clip.layout != torch.strided:
        raise InputError(f"a clip is an ordinary dense tensor {expected}; convert it with .to_dense()")
    if clip.ndim != 5:
        raise InputError(f"a clip has 5 axes {expected}, got shape {tuple(clip.shape)}")
    if not clip.is_floating_point():
        raise InputError(f"a clip is normalised and floating point, got {clip.dtype}; use the model's processor")
    if clip.shape[1] != in_chans:
        raise InputError(f"this encoder takes {in_chans} channels in axis 1 of {expected}, got {tuple(clip.shape)}")
    if clip.shape[0] < 1 or clip.shape[2] < 1:
        raise InputError(f"a batch has at least one clip of at least one frame, got shape {tuple(clip.shape)}")
    height, width = clip.shape[3:]
    if height % patch_size or width % patch_size or not height or not width:
        raise InputError(
            f"height and width must be multiples of the patch size {patch_size}, got {height} x {width}; "
            f"resize or crop the frames first"
        )
