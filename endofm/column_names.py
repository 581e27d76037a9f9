"""Names of the columns of lists: what people write, and which column of ours it means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SYNONYMS: dict[str, tuple[str, ...]] = {
    "path": (
        *("file", "filename", "file_name", "filepath", "file_path", "video", "video_file", "video_name", "videoname"),
        *("video_path", "clip", "clip_path", "clip_name", "image", "image_path", "image_name"),
    ),
    "label": (
        *("labels", "label_name", "class", "class_name", "classname", "class_label", "category", "target", "diagnosis"),
        *("finding", "y"),
    ),
    "patient": (
        *("patients", "patient_id", "patientid", "patient_name", "patient_number", "patient_no", "patient_nr"),
        *("subject", "subject_id", "subjectid", "participant", "participant_id", "person", "person_id", "pid", "mrn"),
        *("case", "case_id", "caseid", "procedure", "procedure_id", "procedureid", "examination", "examination_id"),
        *("exam", "exam_id", "study", "study_id"),
    ),
    "video": ("recording", "video_id", "videoid", "recording_id"),
    "split": ("subset", "partition"),
    "start": ("start_seconds", "start_second", "start_sec", "start_s", "start_time", "begin", "begin_seconds", "from"),
    "end": ("end_seconds", "end_second", "end_sec", "end_s", "end_time", "stop", "stop_seconds", "to"),
    "frames": (
        *("frame", "images", "image", "frame_folder", "image_folder", "images_folder", "image_path", "img"),
        *("path", "video", "video_path", "file", "filename"),
    ),
    "masks": ("mask", "mask_folder", "masks_folder", "mask_path", "ground_truth", "groundtruth", "gt", "segmentation"),
}
"""Other names of each column, in the order in which they are preferred. Case, blanks and hyphens do not matter."""

_PATIENT_WORDS = frozenset(
    [
        *("patient", "patients", "patid", "pat", "pid", "mrn", "subject", "subjects", "subj", "participant", "person"),
        *("case", "procedure", "examination", "exam", "study", "individual", "donor", "proband"),
    ]
)
_TIME_WORDS = frozenset(("start", "end", "begin", "stop", "onset"))


_NAMES = frozenset([*SYNONYMS, *(name for names in SYNONYMS.values() for name in names)])


def may_be_name(text: str) -> bool:
    """Return whether a cell is the name of a column; one look-up, for lists of many thousands of lines."""
    return len(text) < 40 and normal_name(text) in _NAMES


def normal_name(text: str) -> str:
    """Return a column's name in lower case with underscores: ``"Patient-ID "`` and ``"patientId"`` are equal."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text.strip().strip("\"'").strip())
    return re.sub(r"[\s\-_./]+", "_", text).strip("_").casefold()


def match_columns(header: Sequence[str], known: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the positions in a header that each known column may mean, the preferred one first.

    A column of the name itself excludes synonyms: with ``path`` and ``video`` the second is the recording. Only the
    patient may be named twice, by ``patient`` and ``case`` for example; see
    :func:`~endofm.table_text.read_table`.

    Args:
        header: Cells of the first line.
        known: Columns of ours that the list may have.
    """
    names = [normal_name(cell) for cell in header]
    known = tuple(known)
    own = {name for name in known if name in names}
    found: dict[str, tuple[int, ...]] = {}
    for column in known:
        free = [name for name in SYNONYMS.get(column, ()) if name not in own]
        # `video` alone is the path; next to `filename` or `path` it is the recording.
        lent = [name for name in SYNONYMS.get(column, ()) if name in own]
        by_rank = [[column]] if column in own else [free, lent]
        # Whatever may name patients is found, to be compared with the column that is used.
        choices = [[column, *free]] if column == "patient" else by_rank
        taken = {position for positions in found.values() for position in positions}
        for choice in choices:
            places = [at for name in choice for at, other in enumerate(names) if other == name and at not in taken]
            if places:
                found[column] = tuple(places)
                break
    return found


def may_name_patients(name: str) -> bool:
    """Return whether a column that is not known may hold patients, whom a split must keep together."""
    words = normal_name(name).split("_")
    return any(word in _PATIENT_WORDS or "patient" in word or "subject" in word for word in words)


def may_limit_times(name: str) -> bool:
    """Return whether a column that is not known may say where a clip begins or ends."""
    return not _TIME_WORDS.isdisjoint(normal_name(name).split("_"))
