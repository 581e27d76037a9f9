"""Licences of weights: which ones allow any use, and what is asked before weights under others leave this machine."""

from __future__ import annotations

import warnings

from endofm.errors import InputError, LicenseWarning, quoted

PERMISSIVE = frozenset(
    {"", "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0", "unlicense"}
)
"""Identifiers that allow any use with attribution. Weights without a statement, such as a user's own, are not held."""

_announced: set[tuple[str, str]] = set()


def announce(license: str, source: str) -> None:
    """Warn once in this process that weights are under a licence that is not permissive.

    Args:
        license: Identifier; ``"unknown"`` if the authors state none.
        source: The weights, as the user named them.

    Warns:
        LicenseWarning: At the first call for these weights.
    """
    if license in PERMISSIVE or (license, source) in _announced:
        return
    _announced.add((license, source))
    stated = "no licence is stated, so that all rights are reserved" if license == "unknown" else f"licence {license}"
    warnings.warn(
        f"{source}: {stated}. Check that your use is allowed; the licence is kept with every result", LicenseWarning, 4
    )


def require_accepted(license: str, accepted: str | None, *, action: str) -> None:
    """Raise unless a licence is permissive or was accepted.

    Args:
        license: Identifier of the weights' licence.
        accepted: Identifier that the user accepts.
        action: Action on the weights, the subject of a sentence.

    Raises:
        InputError: If the licence was not accepted by its identifier.
    """
    if license in PERMISSIVE or license == accepted:
        return
    given = f", not {quoted(accepted)}" if accepted is not None else ""
    raise InputError(
        f"{action} passes these weights on, and their licence is {license!r}{given}. If it allows that, accept it: "
        f"accept_license={license!r}, or --accept-license {license}"
    )
