"""On a GPU: the encoder's thousand small launches recorded once per shape and replayed as one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from endofm.outputs import EncoderOutput

_log = logging.getLogger(__name__)
_WARM_UP = 2

Replay = Callable[[Tensor], EncoderOutput]


class _Encode(Protocol):
    def __call__(self, clips: Tensor, *, level: str) -> EncoderOutput: ...


class GraphedEncoder:
    """An encoder whose launches are recorded in a CUDA graph for every shape that comes a second time.

    What the encoder reads (its weights) must not change while this object lives: a recording knows addresses, not
    names. An encoder that cannot be recorded is run as it is. Outputs are valid until the next call of the same shape.

    Args:
        encode: The encoder; it must not wait for the device, nor look at values on it.
        record: Makes a recording; another one serves tests.
    """

    def __init__(self, encode: _Encode, record: Callable[[_Encode, Tensor, str], Replay] | None = None) -> None:
        self._encode = encode
        self._record = record or record_cuda_graph
        self._replays: dict[tuple[object, ...], Replay] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._can_record = True

    def __call__(self, clips: Tensor, *, level: str) -> EncoderOutput:
        """Embed clips; arguments and result are the encoder's."""
        key = clips.shape, clips.dtype, clips.device, level
        if key not in self._replays and key in self._seen and self._can_record:
            try:
                self._replays[key] = self._record(self._encode, clips, level)
            except RuntimeError as error:
                self._can_record = False
                _log.info("the encoder cannot be recorded as a CUDA graph (%s); it runs as it is", error)
        self._seen.add(key)
        replay = self._replays.get(key)
        return self._encode(clips, level=level) if replay is None else replay(clips)


def record_cuda_graph(encode: _Encode, clips: Tensor, level: str) -> Replay:
    """Record one call of the encoder and return what replays it on other clips of the same shape.

    Raises:
        RuntimeError: If the encoder does something that cannot be recorded.
    """
    held = clips.clone()
    side = torch.cuda.Stream(clips.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(clips.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):  # What is made at the first call (prepared weights, workspaces) is made here.
            encode(held, level=level)
    torch.cuda.current_stream(clips.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # The thread that reads ahead goes on using the device meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = encode(held, level=level)

    def replay(clips: Tensor) -> EncoderOutput:
        held.copy_(clips, non_blocking=True)
        graph.replay()
        return out

    return replay
