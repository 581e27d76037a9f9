"""Catalogue of the data sets that can be prepared."""

from __future__ import annotations

import difflib

from endofm.data.prepare import custom_folder, cvc, kumc, polypdiag, pretraining, stills
from endofm.data.prepare.set_recipe import SetRecipe
from endofm.errors import InputError

SETS: dict[str, SetRecipe] = {
    recipe.name: recipe
    for recipe in (
        pretraining.COLONOSCOPIC,
        pretraining.SUN_SEG,
        pretraining.LDPOLYPVIDEO,
        pretraining.HYPER_KVASIR,
        pretraining.KVASIR_CAPSULE,
        pretraining.CHOLECT45,
        polypdiag.RECIPE,
        cvc.RECIPE,
        kumc.RECIPE,
        custom_folder.RECIPE,
        stills.stills_recipe(),
    )
}


def find_set(name: str) -> SetRecipe:
    """Return the recipe of a set.

    Raises:
        InputError: If there is no set of this name.
    """
    if name not in SETS:
        close = difflib.get_close_matches(name.lower(), SETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(SETS)}"
        raise InputError(f"there is no data set {name!r}; {hint}")
    return SETS[name]
