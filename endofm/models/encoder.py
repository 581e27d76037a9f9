"""The Endo-FM encoder: a ViT for clips with attention divided into time and space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from endofm.config import EncoderConfig
from endofm.errors import ConfigError, InputError
from endofm.kernels.backend import PLAIN, Arithmetic
from endofm.kernels.precision import ArithmeticChoice, Precision
from endofm.layers.block import DividedSpaceTimeBlock
from endofm.layers.embedding import PatchEmbed, resize_position_table, resize_time_table
from endofm.layers.packing import Packing
from endofm.layers.st_adapter import insert_st_adapters
from endofm.outputs import EncoderOutput


class VideoTransformer(nn.Module):
    """Divided space-time video transformer.

    Computes what the published Endo-FM backbone computes (arXiv 2306.16741; code at github.com/med-air/Endo-FM,
    commit 206427e) and has its parameter names. Any number of frames and any height and width that are multiples of the
    patch size are taken: position and time tables are resized by nearest neighbour, as the original does it.

    Args:
        config: Architecture; the default is the published ViT-B/16 for 8 frames of 224 x 224.

    Attributes:
        embed_dim: Width of the tokens and of the clip embedding.
        patch_size: Side of a patch in pixels.
        num_frames: Frames that the time table was made for.
        precision: How exactly to compute in inference: ``"exact"`` (the default), ``"bfloat16"`` or ``"int8"``; see
            :mod:`endofm.kernels.precision`. Where gradients are recorded the modules are always run as they are.

    Example:
        >>> encoder = VideoTransformer(EncoderConfig.preset("tiny"))
        >>> encoder(torch.zeros(1, 3, 8, 224, 224)).shape
        torch.Size([1, 192])
    """

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        config = config or EncoderConfig()
        if config.attention_type != "divided_space_time":
            raise ConfigError(f"VideoTransformer has divided attention, not {config.attention_type!r}")
        self.encoder_config = config
        self.embed_dim = config.embed_dim
        self.patch_size = config.patch_size
        self.num_frames = config.num_frames
        self.grad_checkpointing = False
        self._arithmetic = ArithmeticChoice()

        self.patch_embed = PatchEmbed(config.patch_size, config.in_chans, config.embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.grid_size**2, config.embed_dim))
        self.time_embed = nn.Parameter(torch.empty(1, config.num_frames, config.embed_dim))
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(
            DividedSpaceTimeBlock(config, config.drop_path_rate * i / last) for i in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.init_weights()
        insert_st_adapters(self.blocks, config.embed_dim, config.st_adapter)

    @property
    def precision(self) -> Precision:
        """How exactly the encoder computes in inference."""
        return self._arithmetic.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self._arithmetic.precision = precision

    def init_weights(self) -> None:
        """Draw fresh weights by the original's rule.

        Truncated normals of deviation 0.02; ``time_embed`` and every ``temporal_fc`` start at zero, so that the fresh
        network is a per-frame ViT whose class token is averaged over frames.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
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
            clip: ``(batch, channels, time, height, width)``, RGB, normalised as the weights' preprocessing says;
                height and width are multiples of the patch size.

        Returns:
            Class token after the final norm, ``(batch, embed_dim)``.

        Raises:
            InputError: If the clip has another form.
        """
        *blocks, last = self._blocks()
        x, _ = self.embed(clip)
        arithmetic = self._arithmetic.choose(self, x)
        found = []
        for part in arithmetic.parts(x, self.encoder_config.mlp_dim):
            for block in blocks:
                part = self._run(block, part, arithmetic)
            found.append(self.norm(self._run(last.forward_cls, part, arithmetic)))
        return _join(found)

    def forward_many(self, clips: Sequence[Tensor]) -> Tensor:
        """Embed batches of clips of several shapes, in training.

        What acts on each token by itself runs once for all of them, which makes fewer and larger products than
        embedding one batch after the other.

        Args:
            clips: Each as for :meth:`forward`.

        Returns:
            Class tokens of all clips in their order, ``(clips, embed_dim)``; those of :meth:`forward` but for rounding.

        Raises:
            InputError: If a batch has another form.
        """
        *blocks, last = self._blocks()
        packing, rows = Packing.of([self.embed(clip)[0] for clip in clips])
        for block in blocks:
            rows = self._run(partial(block.forward_packed, packing=packing), rows, PLAIN)
        out: Tensor = self.norm(self._run(partial(last.forward_cls_packed, packing=packing), rows, PLAIN))
        return out

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid; arguments and errors as :meth:`forward`."""
        return self.get_intermediate_layers(clip)[0]

    def get_intermediate_layers(
        self, clip: Tensor, n: int | Sequence[int] = 1, *, norm: bool = True
    ) -> tuple[EncoderOutput, ...]:
        """Return the tokens after chosen blocks.

        Args:
            clip: As for :meth:`forward`.
            n: The last ``n`` blocks, or the indices of the blocks (negative ones count from the end).
            norm: Apply the final norm to each.

        Returns:
            One output per block, in ascending order of depth for a number and in the given order for indices.

        Raises:
            InputError: If the clip has another form or a block does not exist.
        """
        depth = len(self.blocks)
        indices = list(range(depth - n, depth)) if isinstance(n, int) else [i + depth if i < 0 else i for i in n]
        if not indices or min(indices) < 0 or max(indices) >= depth:
            raise InputError(f"get_intermediate_layers: n={n!r} does not name blocks of an encoder with {depth} blocks")
        x, grid = self.embed(clip)
        arithmetic = self._arithmetic.choose(self, x)
        found: dict[int, list[Tensor]] = {i: [] for i in indices}
        for part in arithmetic.parts(x, self.encoder_config.mlp_dim):
            for i, block in enumerate(self._blocks()[: max(indices) + 1]):
                part = self._run(block, part, arithmetic)
                if i in found:
                    found[i].append((self.norm(part) if norm else part).movedim(0, 1))  # B T 1+N D
        joined = {i: _join(tokens) for i, tokens in found.items()}
        return tuple(EncoderOutput(joined[i][:, 0, 0], torch.unflatten(joined[i][:, :, 1:], 2, grid)) for i in indices)

    def get_last_attention(self, clip: Tensor) -> Tensor:
        """Return the spatial attention weights of the last block, for pictures.

        Args:
            clip: As for :meth:`forward`.

        Returns:
            ``(batch, time, heads, 1 + patches, 1 + patches)``, rows are queries and sum to 1; index 0 is the class
            token, patches follow row by row.

        Raises:
            InputError: If the clip has another form.
        """
        *blocks, last = self._blocks()
        x, _ = self.embed(clip)
        arithmetic = self._arithmetic.choose(self, x)
        for block in blocks:
            x = self._run(block, x, arithmetic)
        return last.spatial_attention(x, arithmetic).transpose(0, 1)

    def embed(self, clip: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn clips into the tokens that enter the first block.

        Returns:
            Tokens ``(time, batch, 1 + patches, embed_dim)``, of which row 0 of every frame is the class token, and the
            grid (rows, columns) of patches.

        Raises:
            InputError: If the clip has another form.
        """
        require_clip(clip, in_chans=self.encoder_config.in_chans, patch_size=self.patch_size)
        batch, _, time, height, width = clip.shape
        grid = (height // self.patch_size, width // self.patch_size)
        frames = clip.to(self.pos_embed.dtype).permute(2, 0, 1, 3, 4).flatten(0, 1)  # (T B) C H W
        patches = self.patch_embed(frames).unflatten(0, (time, batch))  # T B N D
        positions = resize_position_table(self.pos_embed, grid)
        times = resize_time_table(self.time_embed, time)
        patches = patches + (positions[:, 1:] + times.transpose(0, 1)).unsqueeze(1)
        # The class token has a position but no time.
        cls_token = (self.cls_token + positions[:, :1]).expand(time, batch, 1, -1)
        return torch.cat((cls_token, patches.to(cls_token.dtype)), dim=2), grid

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def _run(self, step: Callable[..., Tensor], x: Tensor, arithmetic: Arithmetic) -> Tensor:
        return run_block(step, x, arithmetic, recompute=self.grad_checkpointing)

    def _blocks(self) -> list[DividedSpaceTimeBlock]:
        return list(self.blocks)  # type: ignore[arg-type]


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def run_block(step: Callable[..., Tensor], x: Tensor, arithmetic: Arithmetic, *, recompute: bool) -> Tensor:
    """Run a block, or have it recomputed in the backward pass instead of keeping its activations."""
    if arithmetic is not PLAIN:
        return step(x, arithmetic)
    if recompute and torch.is_grad_enabled():
        recomputed: Tensor = checkpoint(step, x, use_reentrant=False)
        return recomputed
    return step(x)


def require_clip(clip: Tensor, *, in_chans: int, patch_size: int) -> None:
    """Raise unless a clip has the form that an encoder takes.

    Raises:
        InputError: Saying what is wrong with it.
    """
    expected = "(batch, channels, time, height, width)"
    if not isinstance(clip, Tensor):
        raise InputError(f"a clip is a tensor {expected}, got {type(clip).__name__}")
    if clip.ndim != 5:
        raise InputError(f"a clip has 5 axes {expected}, got shape {tuple(clip.shape)}")
    if not clip.is_floating_point():
        raise InputError(f"a clip is normalised and floating point, got {clip.dtype}; use the model's processor")
    if clip.shape[1] != in_chans:
        raise InputError(f"this encoder takes {in_chans} channels in axis 1 of {expected}, got {tuple(clip.shape)}")
    if clip.shape[2] < 1:
        raise InputError(f"a clip has at least one frame, got shape {tuple(clip.shape)}")
    height, width = clip.shape[3:]
    if height % patch_size or width % patch_size or not height or not width:
        raise InputError(
            f"height and width must be multiples of the patch size {patch_size}, got {height} x {width}; "
            f"resize or crop the frames first"
        )
