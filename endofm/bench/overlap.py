"""Overlap between the data that an encoder was trained on and the set that it is scored on, by its record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from endofm.bench.frozen import CONTROLS, UNTRAINED
from endofm.bench.suite import SetConfig
from endofm.hub.weight_record import WeightRecord

OverlapKind = Literal["seen", "held out", "not listed", "not known", "none"]

IMAGENET_NOTE = "Trained on ImageNet with its labels; ImageNet is not known to hold endoscopy."


@dataclass(frozen=True)
class Overlap:
    """Overlap of the training data of one encoder with one set.

    Attributes:
        kind: ``seen`` if the record lists pictures of the set, ``held out`` if it states that they were left out, ``not
            listed`` if it lists its data without them, ``not known`` if it lists no data, ``none`` where nothing was
            trained.
        text: The statements of the record, as sentences.
    """

    kind: OverlapKind
    text: str

    @property
    def mark(self) -> str:
        """Short form that stands beside a number: empty where there is nothing to say."""
        return {"seen": "seen", "not known": "?"}.get(self.kind, "")


def find_overlap(spec: str, record: WeightRecord | None, config: SetConfig) -> Overlap:
    """Return what the record of an encoder says about the pictures of a set.

    Names are compared without case and punctuation: `Hyper-Kvasir (5,704 clips)` names the data set HyperKvasir. A
    match says that pictures of the same data set were seen, not which; the record's own words are given.

    Args:
        spec: Encoder or control, as on the command line.
        record: Record of its weights; None for files and controls.
        config: The set; ``images_of`` names the data sets that its pictures come from.
    """
    if spec.startswith(UNTRAINED) or (record is not None and record.random_seed is not None):
        return Overlap("none", "Nothing was trained.")
    if spec in CONTROLS:
        return Overlap("none", IMAGENET_NOTE if spec == "efficientnet-lite0" else "Nothing was trained.")
    if record is None or not record.datasets:
        what = "These weights have no record" if record is None else "The record names no data"
        return Overlap("not known", f"{what}: what was seen in training is not known.")
    seen = [text for text in record.datasets if _names(text, config)]
    held = [text for text in record.datasets_held_out if _names(text, config)]
    remarks = [text for text in record.overlaps if _names(text, config)]
    if seen:
        return Overlap("seen", " ".join([f"Seen in training: {'; '.join(seen)}.", *remarks]))
    if held:
        return Overlap("held out", f"The authors state that it was left out of training: {', '.join(held)}.")
    return Overlap("not listed", "The record lists the training data, and this set is not among them.")


def _names(text: str, config: SetConfig) -> bool:
    plain = _plain(text)
    return any(_plain(name) in plain for name in config.images_of)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
