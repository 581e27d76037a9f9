"""Overlap by the records of weights."""

from dataclasses import replace

from endofm.bench.overlap import find_overlap
from endofm.bench.suite import load_suite
from endofm.hub.registry import get_record

SETS = load_suite("real-stills").sets


def test_the_packaged_encoder_has_seen_the_polyps_and_not_the_capsule() -> None:
    record = get_record("endofm-nano-4x96")
    seen = find_overlap("endofm-nano-4x96", record, SETS["polyp-crop"])
    assert seen.kind == "seen"
    assert "the training part of Kvasir-SEG" in seen.text
    assert seen.mark == "seen"
    assert find_overlap("endofm-nano-4x96", record, SETS["tissue-patch"]).kind == "seen"
    assert find_overlap("endofm-nano-4x96", record, SETS["surgery"]).kind == "seen"
    assert find_overlap("endofm-nano-4x96", record, SETS["bleeding"]).kind == "not listed"


def test_names_are_compared_without_punctuation_and_remarks_are_kept() -> None:
    record = get_record("endofm-base-8x224")
    polypdiag = replace(SETS["bleeding"], images_of=("PolypDiag", "HyperKvasir", "LDPolypVideo"))
    found = find_overlap("endofm-base-8x224", record, polypdiag)
    assert found.kind == "seen"
    assert "Hyper-Kvasir (5,704 clips)" in found.text
    assert "issue 9" in found.text
    cvc = replace(SETS["bleeding"], images_of=("CVC-12k", "CVC-ClinicDB"))
    assert find_overlap("endofm-base-8x224", record, cvc).kind == "held out"


def test_data_of_other_projects_are_in_their_records() -> None:
    hyper = replace(SETS["bleeding"], images_of=("HyperKvasir",))
    for name in ("ssl4gie-mae-b", "ssl4gie-mocov3-rn50"):
        assert find_overlap(name, get_record(name), hyper).kind == "seen"


def test_what_is_not_known_is_said() -> None:
    assert find_overlap("runs/mine/export", None, SETS["bleeding"]).mark == "?"
    assert find_overlap("endovit-b", get_record("endovit-b"), SETS["bleeding"]).kind == "not known"


def test_controls_and_random_weights_have_seen_nothing() -> None:
    for spec in ("histogram", "efficientnet-lite0", "untrained:endofm-nano-4x96"):
        assert find_overlap(spec, None, SETS["polyp-crop"]).kind == "none"
    record = get_record("endofm-tiny-8x224-random")
    assert find_overlap("endofm-tiny-8x224-random", record, SETS["polyp-crop"]).kind == "none"
