"""Lines of lists from outside: decoding, comments, separators and quoting; whatever a line means.

Spreadsheets and scripts write the same list in many ways. What can be understood is read, and everything else is
refused with its line: a line that is misread becomes a clip, a class or a patient of its own.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from endofm.csv_text import plain_cell
from endofm.errors import InputError, quoted

MAX_BYTES = 256 * 2**20
"""Largest list that is read."""

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
BLANKS = " "
"""Stands for runs of blanks, which separate columns only where no other separator occurs."""

_FILE_NAME = re.compile(r".*[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}", re.DOTALL)
_WORD = r"[^\s./\\]+"
_WITH_TIMES = re.compile(rf"(.*\S)\s+({_WORD})\s+([\d.]+)\s+([\d.]+)")
_WITH_LABEL = re.compile(rf"(.*\S)\s+({_WORD})")


def looks_like_file(text: str) -> bool:
    """Return whether a cell ends in a suffix, as ``videos/a.mp4`` does, and ``1.5`` and ``polyp`` do not."""
    return _FILE_NAME.fullmatch(text) is not None


def read_lines(path: Path, *, errors: str = "strict") -> list[str]:
    """Return the lines of a file, with their ends.

    UTF-8 with or without a byte-order mark is read, and UTF-16 with one, as Excel writes "Unicode text".

    Args:
        path: The file.
        errors: Treatment of bytes that are not UTF-8, as for ``bytes.decode``.

    Raises:
        InputError: If the file cannot be read, is too large, or is not such text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: this list cannot be read ({error})") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: a list of more than {MAX_BYTES // 2**20} MiB is not read")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig", "strict" if wide else errors)
        position = text.find("\0")
        number = text.count("\n", 0, position) + 1
    except UnicodeDecodeError as error:
        position, number = error.start, data.count(b"\n", 0, error.start) + 1
    if position >= 0:
        raise InputError(f"{path}, line {number}: this is not UTF-8 text; save the list as UTF-8 (in Excel: CSV UTF-8)")
    # Marks within the text come from files that were joined. Unlike str.splitlines, this ends lines at line ends only.
    return list(io.StringIO(text.replace("\ufeff", ""), newline=""))


def take_separator_line(path: Path, lines: list[str]) -> str | None:
    """Return the separator that a first line ``sep=;`` of Excel states, and empty that line; None without one.

    Raises:
        InputError: If it is not one of :data:`SEPARATORS`.
    """
    index = first_line(lines)
    match = None if index is None else re.fullmatch(r'"?sep=(.*?)"?', lines[index].strip("\r\n "), re.IGNORECASE)
    if index is None or match is None:
        return None
    # Where the separator is a tab it may have been taken for the blank at the end of the line.
    stated = match[1] or ("\t" if lines[index].rstrip("\r\n").endswith("\t") else "")
    if stated not in SEPARATORS:
        raise InputError(f"{path}, line {index + 1}: the separator {quoted(stated)} is not a comma, ; | or tab")
    lines[index] = "\n"
    return stated


def first_line(lines: Sequence[str]) -> int | None:
    """Return the index of the first line that is not empty."""
    return next((index for index, line in enumerate(lines) if line.strip()), None)


def blank_comments(path: Path, lines: list[str], *, keep: int | None = None) -> None:
    """Empty the lines that begin with ``#``, outside of quoted cells.

    Args:
        path: The file, for messages.
        lines: Its lines.
        keep: Index of a line of column names, which only loses the mark.

    Raises:
        InputError: If such a line names an existing file, which would be left out silently.
    """
    inside = False
    for index, line in enumerate(lines):
        text = line.lstrip()
        if not inside and text.startswith("#") and index == keep:
            lines[index] = text[1:]
        elif not inside and text.startswith("#"):
            if exists(path.parent / re.split(r"[,;\t|]", text)[0].strip()):
                raise InputError(
                    f"{path}, line {index + 1}: a line that begins with # is a comment, but this one names an existing "
                    "file; write ./ before its name"
                )
            lines[index] = "\n"
            continue
        inside ^= line.count('"') % 2 == 1


def find_separator(path: Path, lines: Sequence[str], widths: Sequence[int]) -> str:
    """Return the separator of a list whose first line does not name the columns.

    Args:
        path: The file, for messages.
        lines: Its lines, without comments.
        widths: Numbers of columns that it may have.

    Raises:
        InputError: If two separators would fit, or blanks separate some lines only.
    """
    texts = [(index + 1, line.strip("\r\n")) for index, line in enumerate(lines) if line.strip()]
    counts = {one: [len(split_line(text, one)) for _, text in texts] for one in SEPARATORS}
    used = [one for one in SEPARATORS if max(counts[one], default=1) > 1]
    fitting = [one for one in used if set(counts[one]) <= set(widths) - {1}]
    if len(fitting) > 1:
        raise InputError(
            f"{path}, line {texts[0][0]}: {' and '.join(SEPARATORS[one] for one in fitting)} could both separate the "
            "columns; write a first line that names them, such as path,label"
        )
    if used:
        # If none fits, the one that most lines use: the line that does not fit is then named.
        return fitting[0] if fitting else max(used, key=lambda one: sum(count > 1 for count in counts[one]))
    blank = [_split_at_blanks(text) is not None for _, text in texts]
    if any(blank) and not all(blank):
        raise InputError(
            f"{path}, line {texts[blank.index(False)][0]}: blanks separate columns in other lines, but not in this "
            "one; separate columns with commas"
        )
    return BLANKS if any(blank) else ","


def split_line(text: str, separator: str) -> list[str]:
    """Return the cells of one line, to guess by; wrong quoting is found when the list is read."""
    if separator == BLANKS:
        return text.split()
    if '"' not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return [text]


def records(path: Path, lines: Sequence[str], separator: str, *, headed: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield file and line, and the cells without blanks around them, of every line that is not empty.

    Raises:
        InputError: If the quoting of a line is wrong.
    """
    if separator == BLANKS:
        for index, line in enumerate(lines):
            if line.strip():
                yield f"{path}, line {index + 1}", (None if headed else _split_at_blanks(line)) or line.split()
        return
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    begin = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{path}, line {begin}: wrong quotation marks ({error}); quote a cell as a whole, and double the marks "
                "within it"
            ) from error
        if cells is None:
            return
        text = "".join(lines[begin - 1 : reader.line_num])
        # The parser takes a mark within a cell that is not quoted as it is: it is one that lost its partner.
        if any('"' in cell and cell.replace('"', '""') not in text for cell in cells):
            raise InputError(
                f"{path}, line {begin}: a quotation mark is within a cell; quote the cell as a whole, and double the "
                "mark"
            )
        if any(cell.strip() for cell in cells):
            yield f"{path}, line {begin}", [plain_cell(cell.strip()) for cell in cells]
        begin = reader.line_num + 1


def exists(path: Path) -> bool:
    """Return whether a file or folder exists; a name that no file can have is one that does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _split_at_blanks(text: str) -> list[str] | None:
    """Return file, label and perhaps times; None if the blanks may as well belong to the name of the file."""
    match = _WITH_TIMES.fullmatch(text.strip()) or _WITH_LABEL.fullmatch(text.strip())
    return list(match.groups()) if match and looks_like_file(match[1]) else None
