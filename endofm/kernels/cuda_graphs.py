"""CUDA graphs: the encoder's thousand small kernel launches, recorded once per input shape and replayed as one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from endofm.outputs import EncoderOutput

_log = logging.getLogger(__name__)
_WARM_UP_CALLS = 2

Replay = Callable[[Tensor], EncoderOutput]


class _Encode(Protocol):
    def __call__(self, clips: Tensor, *, level: str) -> EncoderOutput: ...


class GraphedEncoder:
    """An encoder whose launches are recorded in a CUDA graph for every input shape that occurs a second time.

    The weights must not be replaced while this object lives: a recording holds memory addresses. An encoder that
    cannot be recorded is called directly. Outputs are valid until the next call with the same shape.

    Args:
        encode: The encoder; it must not wait for the device, nor read values back from it.
        record: Makes a recording; tests pass a stand-in.
    """

    def __init__(self, encode: _Encode, record: Callable[[_Encode, Tensor, str], Replay] | None = None) -> None:
        self._encode = encode
        self._record = record or record_cuda_graph
        self._replays: dict[tuple[object, ...], Replay] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._can_record = True

    def __call__(self, clips: Tensor, *, level: str) -> EncoderOutput:
        """Embed clips; arguments and result are the encoder's."""
        # The last batch of a video is often a single one of its shape: recording it would cost more than it saves.
        key = clips.shape, clips.dtype, clips.device, level
        if key not in self._replays and key in self._seen and self._can_record:
            try:
                self._replays[key] = self._record(self._encode, clips, level)
            except RuntimeError as error:
                self._can_record = False
                _log.info("the encoder cannot be recorded as a CUDA graph (%s); it is called directly", error)
        self._seen.add(key)
        replay = self._replays.get(key)
        return self._encode(clips, level=level) if replay is None else replay(clips)


def record_cuda_graph(encode: _Encode, clips: Tensor, level: str) -> Replay:
    """Record one call of the encoder and return a function that replays it on other clips of the same shape.

    Raises:
        RuntimeError: If the encoder calls something that cannot be recorded.
    """
    # A replay reads the addresses that were recorded, so the input has a fixed buffer that every call copies into.
    held = clips.clone()
    # CUDA requires a few calls on a side stream before capture.
    side = torch.cuda.Stream(clips.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(clips.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP_CALLS):
            # Memory that the first call allocates (prepared weights, workspaces) must not belong to the graph.
            encode(held, level=level)
    torch.cuda.current_stream(clips.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # The thread that reads ahead uses the device meanwhile; only this thread's calls belong to the graph.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = encode(held, level=level)

    def replay(clips: Tensor) -> EncoderOutput:
        held.copy_(clips, non_blocking=True)
        graph.replay()
        return out

    return replay
