"""What was worked out from parameters, kept until a parameter changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

T = TypeVar("T")


class WeightCache:
    """Forms of weights that inference needs, one per layer; never part of a state dict, of a copy or of a pickle.

    A change of a parameter is noticed by its version counter, its memory, its type and its device. Writing through
    ``parameter.data`` leaves all four as they are; on the CPU some values of each parameter are therefore compared too.
    """

    def __init__(self) -> None:
        self._entries: WeakKeyDictionary[nn.Module, tuple[object, Any]] = WeakKeyDictionary()

    def get(self, owner: nn.Module, parameters: Sequence[Tensor], make: Callable[[], T]) -> T | None:
        """Return what ``make`` returned for these parameters as they are now, calling it if needed.

        Args:
            owner: Layer that the result is kept for, and that it is dropped with.
            parameters: All that ``make`` reads.
            make: Works out the result.

        Returns:
            None for parameters that were made in inference mode: they have no version counter, so a change could not
            be noticed.
        """
        if any(p.is_inference() for p in parameters):
            return None
        key = tuple((p.data_ptr(), p._version, p.dtype, p.device, _some_values(p)) for p in parameters)
        found = self._entries.get(owner)
        if found is None or found[0] != key:
            found = key, make()
            self._entries[owner] = found
        value: T = found[1]
        return value

    def __len__(self) -> int:
        return len(self._entries)

    def __deepcopy__(self, memo: dict[int, Any]) -> WeightCache:
        return WeightCache()

    def __reduce__(self) -> tuple[type[WeightCache], tuple[()]]:
        return WeightCache, ()


def _some_values(parameter: Tensor) -> tuple[float, ...]:
    """Return a few values spread over a parameter in the processor's memory, nothing for one elsewhere."""
    if parameter.device.type != "cpu" or not parameter.is_contiguous():
        return ()
    flat = parameter.detach().view(-1)
    step = max(flat.numel() // 4, 1)
    return tuple(flat[::step].tolist())
