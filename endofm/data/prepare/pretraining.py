"""The six public pre-training sets.

Counts are those of the table in the README of Endo-FM (https://github.com/med-air/Endo-FM); layouts and terms are those
of the pages named in each recipe. ``docs/data`` has a page for each set.
"""

from __future__ import annotations

from functools import partial

from endofm.data.prepare.layout_rules import LayoutRule, find_by_rules
from endofm.data.prepare.set_recipe import SetRecipe

COLONOSCOPIC = SetRecipe(
    name="colonoscopic",
    title="Colonoscopic (Gastrointestinal Lesions in Regular Colonoscopy)",
    find=partial(
        find_by_rules,
        rules=(
            # The published folder is misspelt ("hyperplasic"). White light and narrow band show the same lesion, so
            # the lesion stands for the patient in splits.
            LayoutRule(
                kind="video",
                pattern=r"(?P<label>adenoma|hyperplas[a-z]*|serrated)/(?P<lesion>[a-z]+_\d+)/"
                r"(?:videos/)?(?P<light>WL|NBI)\.[a-z0-9]+",
                fields={"video": "{lesion}/{light}", "patient": "{lesion}", "label": "{label}"},
            ),
        ),
        layout="adenoma/adenoma_01/videos/{WL,NBI}.mp4, also below hyperplasic/ and serrated/",
    ),
    license="not stated on the page; ask the authors",
    source="http://www.depeca.uah.es/colonoscopy_dataset/",
    obtain="free download",
    clips=210,
    frames=36_534,
    overlaps=("kumc: part of its images very likely come from here (the GLRC part of the archive, by its name)",),
)

SUN_SEG = SetRecipe(
    name="sun-seg",
    title="SUN and SUN-SEG",
    find=partial(
        find_by_rules,
        rules=(
            # Pieces of one case lie in several subsets ("Seen"), so the case, not the piece, is the patient.
            LayoutRule(
                kind="frames",
                pattern=r"(?P<part>Train|TestEasy|TestHard)Dataset/(?:(?:Seen|Unseen)/)?Frame/"
                r"(?P<case>case\d+)(?P<piece>_\d+)?",
                fields={"video": "{case}{piece}", "patient": "{case}", "label": "polyp", "split": "{part}"},
            ),
            # Negative cases count from 1 as well, but are other patients.
            LayoutRule(
                kind="frames",
                pattern=r"SUN-Negative/(?P<case>case\d+)",
                fields={"video": "negative-{case}", "patient": "negative-{case}", "label": "no polyp"},
            ),
        ),
        layout="TrainDataset/Frame/case1_1/*.jpg (also TestEasyDataset and TestHardDataset, with Seen/ and Unseen/), "
        "as the reorganisation of SUN-SEG leaves them, and SUN-Negative/case1/*.jpg",
    ),
    license="research only, no commercial use, no redistribution; granted per applicant",
    source="http://amed8k.sundatabase.org and https://github.com/GewelsJI/VPS",
    obtain="frames: apply to the SUN database by e-mail; pieces: the SUN-SEG annotation, free download",
    clips=1_018,
    frames=159_400,
)

LDPOLYPVIDEO = SetRecipe(
    name="ldpolypvideo",
    title="LDPolypVideo",
    find=partial(
        find_by_rules,
        rules=(
            # Both parts number their videos; the set states no patients, so each video stands for itself.
            LayoutRule(
                kind="frames",
                pattern=r"(?P<part>TrainValid|Test)/Images/(?P<number>\d+)",
                fields={"video": "{part}/{number}", "split": "{part}"},
            ),
        ),
        layout="TrainValid/Images/1/*.jpg and Test/Images/101/*.jpg",
    ),
    license="not stated in the repository; ask the authors",
    source="https://github.com/dashishi/LDPolypVideo-Benchmark",
    obtain="free download",
    clips=237,
    frames=40_186,
    overlaps=("polypdiag: part of its videos come from here",),
)

HYPER_KVASIR = SetRecipe(
    name="hyper-kvasir",
    title="HyperKvasir",
    find=partial(
        find_by_rules,
        rules=(
            # The folder of the finding is the label; a category's folder may stand above it.
            LayoutRule(
                kind="video",
                pattern=r"(?P<tract>upper|lower)-gi-tract/(?:[^/]+/)?(?P<label>[^/]+)/(?P<name>[^/]+)\.[a-z0-9]+",
                fields={"video": "{name}", "label": "{label}"},
            ),
        ),
        layout="labeled-videos/lower-gi-tract/pathological-findings/polyps/*.avi also below upper-gi-tract/",
    ),
    license="research and education; competitions and commercial use need prior written permission",
    source="https://datasets.simula.no/hyper-kvasir/",
    obtain="free download of hyper-kvasir-labeled-videos.zip",
    clips=5_704,
    frames=875_940,
    overlaps=("polypdiag: part of its videos come from here",),
)

KVASIR_CAPSULE = SetRecipe(
    name="kvasir-capsule",
    title="Kvasir-Capsule",
    find=partial(
        find_by_rules,
        rules=(
            # The set states no patients: each recording stands for one.
            LayoutRule(
                kind="video",
                pattern=r"(?P<part>labelled|unlabelled)_videos/(?P<name>[^/]+)\.[a-z0-9]+",
                fields={"video": "{name}", "patient": "{name}"},
            ),
        ),
        layout="labelled_videos/*.mp4 and unlabelled_videos/*.mp4",
    ),
    license="stated in two ways: research and education on its page, CC BY 4.0 in the archive",
    source="https://datasets.simula.no/kvasir-capsule/",
    obtain="free download from https://osf.io/dv2ag/",
    clips=1_000,
    frames=158_892,
)

CHOLECT45 = SetRecipe(
    name="cholect45",
    title="CholecT45 (CholecTriplet)",
    find=partial(
        find_by_rules,
        rules=(
            # One frame per second is stored; without the rate a clip would seem 30 times as short.
            LayoutRule(
                kind="frames",
                pattern=r"(?:data|videos)/(?P<video>VID\d+)",
                fields={"video": "{video}", "patient": "{video}"},
                fps=1.0,
            ),
        ),
        layout="data/VID01/000000.png, or videos/VID01/000000.png as in CholecT50",
    ),
    license="CC BY-NC-SA 4.0",
    source="https://github.com/CAMMA-public/cholect45",
    obtain="a request form of the CAMMA group, linked from the page",
    clips=580,
    frames=90_444,
)
