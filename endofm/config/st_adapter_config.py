"""The description of ST-Adapters in an encoder, a part of ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from endofm.config.checks import LARGEST_COUNT, LARGEST_SIZE, require_choice, require_int
from endofm.errors import ConfigError, quoted

AdapterPlacement = Literal["attn", "mlp", "both"]
AdapterActivation = Literal["none", "gelu", "quick_gelu"]


@dataclass(frozen=True, kw_only=True)
class STAdapterConfig:
    """ST-Adapters: bottlenecks with a depthwise convolution over time and space in an encoder's blocks.

    Source: arXiv 2206.13559.

    Attributes:
        width: Channels of the bottleneck. The paper uses 384, half the width of its tokens.
        kernel: Size of the convolution over time, rows and columns; odd numbers. Both published models have (3, 1, 1).
        placement: ``"attn"``: before the attention of a block (over time, where there is one); ``"mlp"``: before its
            MLP; ``"both"``. With 12 blocks ``"mlp"`` is the paper's 12x384 and ``"both"`` its 24x384.
        last_blocks: Number of blocks with adapters, counted from the last; None for all.
        activation: Activation after the convolution; the reference implementation has none.
    """

    width: int = 384
    kernel: tuple[int, int, int] = (3, 1, 1)
    placement: AdapterPlacement = "both"
    last_blocks: int | None = None
    activation: AdapterActivation = "none"

    def __post_init__(self) -> None:
        require_int(self, "width", *([] if self.last_blocks is None else ["last_blocks"]), high=LARGEST_SIZE)
        require_choice(self, "placement", get_args(AdapterPlacement))
        require_choice(self, "activation", get_args(AdapterActivation))
        kernel = self.kernel
        # Odd, so that padding by half the kernel keeps the size of the token grid.
        odd = (
            isinstance(kernel, tuple)
            and len(kernel) == 3
            and all(type(k) is int and 0 < k < LARGEST_COUNT and k % 2 for k in kernel)
        )
        if not odd:
            raise ConfigError(f"STAdapterConfig.kernel must be 3 odd integers (time, rows, columns): {quoted(kernel)}")

    def slots(self, depth: int) -> list[tuple[int, str]]:
        """Return the index of the block and the block's attribute of every adapter.

        Args:
            depth: Number of blocks of the encoder.
        """
        first = 0 if self.last_blocks is None else max(depth - self.last_blocks, 0)
        slots = {"attn": ("before_attention",), "mlp": ("before_mlp",), "both": ("before_attention", "before_mlp")}
        return [(block, slot) for block in range(first, depth) for slot in slots[self.placement]]

    def num_parameters(self, embed_dim: int) -> int:
        """Return the number of parameters of one adapter for tokens of the given width."""
        # Two linear layers with biases, and a depthwise convolution: one kernel and one bias per channel.
        time, rows, columns = self.kernel
        return 2 * embed_dim * self.width + self.width * time * rows * columns + 2 * self.width + embed_dim
