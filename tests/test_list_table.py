"""The one reader of lists: what people and programs write is read, and the rest is refused with its line."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from endofm.errors import InputError
from endofm.list_table import CLIP_COLUMNS, CLIP_WIDTHS, ListWarning, read_paths, read_table

CLIPS = [("v0.mp4", "normal"), ("v1.mp4", "polyp")]


def rows(tmp_path: Path, content: str | bytes, **options: object) -> list[dict[str, str]]:
    path = tmp_path / "list.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [dict(row.cells) for row in read_table(path, CLIP_COLUMNS, widths=CLIP_WIDTHS, **options).rows]


@pytest.mark.parametrize(
    "text",
    [
        "v0.mp4,normal\nv1.mp4,polyp\n",
        "path,label\r\nv0.mp4,normal\r\n\r\nv1.mp4,polyp",
        "Path, Label\rv0.mp4, normal\rv1.mp4, polyp\r",
        'video;"Class Name"\n"v0.mp4";"normal"\nv1.mp4;polyp\n',
        "LABEL\tFile-Name\nnormal\tv0.mp4\npolyp\tv1.mp4\n",
        "sep=;\nfilename;class\nv0.mp4;normal\nv1.mp4;polyp\n",
        "sep=\t\nv0.mp4\tnormal\nv1.mp4\tpolyp\n",
        "# made by hand\nv0.mp4 normal\n# a comment, with commas\nv1.mp4 polyp\n",
        "# path,label\nv0.mp4,normal\nv1.mp4,polyp\n",
        "path label\nv0.mp4 normal\nv1.mp4   polyp\n",
        "path,label,,\nv0.mp4,normal,,\nv1.mp4,polyp,,\n,,,\n",
        "path,label\nv0.mp4,normal\n\ufeffpath,label\nv1.mp4,polyp\n",
        b"\xef\xbb\xbfpath,label\nv0.mp4,normal\nv1.mp4,polyp\n",
        "path\tlabel\r\nv0.mp4\tnormal\r\nv1.mp4\tpolyp\r\n".encode("utf-16"),
    ],
)
def test_one_list_in_many_writings(text: str | bytes, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows(tmp_path, text) == [{"path": path, "label": label} for path, label in CLIPS]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("path,label,patient", {"path", "label", "patient"}),
        ("video,label,Patient ID", {"path", "label", "patient"}),
        ("filename,video,class,Subject", {"path", "video", "label", "patient"}),
        ("path,procedure,start_s,stop", {"path", "patient", "start", "end"}),
        ("path,label,start,end,comment", {"path", "label", "start", "end"}),
        ("path,label,caseID,patient", {"path", "label", "patient"}),
    ],
)
def test_columns_by_other_names(header: str, columns: set[str], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ListWarning)
        found = rows(tmp_path, f"{header}\n{','.join('12345'[: header.count(',') + 1])}\n")
    assert set(found[0]) == columns


def test_columns_that_are_not_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(",path,label,weather\n0,v0.mp4,polyp,fine\n")
    with pytest.warns(ListWarning, match="not used: number 1,weather"):
        table = read_table(tmp_path / "list.csv", CLIP_COLUMNS)
    assert len(table.notes) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,Patientennummer\na.mp4,1,p\n", "line 1: the column 'Patientennummer' may name patients"),
        ("path,label,start_frame\na.mp4,1,3\n", "line 1: the column 'start_frame' may limit the clips"),
        ("path,label,Label\na.mp4,1,2\n", "line 1: label,Label could all be the label"),
        ("filename,clip\na.mp4,1\n", "line 1: filename,clip could all be the path"),
        ("path,patient,case\na,p1,c\nb,p2,c\n", "line 3: case 'c' belongs to patient 'p2' here"),
        ("path,label\na.mp4,x\nb.mp4\n", "line 3: 1 values for 2 columns"),
        ("path,label\na,b.mp4,x\n", "line 2: 3 values for 2 columns"),
        ("path,label\na.mp4,x\nlabel,path\n", "line 3: this line names the columns again"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("a.mp4,x\npath,label\n", "line 2: this line names columns"),
        ("a.mp4,x\nb.mp4;y\n", "line 2: expected"),
        ("a.mp4,x\nb.mp4\n", "line 2: expected"),
        ("a.mp4 x\nmy b.mp4\n", "line 2: blanks separate"),
        ("x,a.mp4\ny,b.mp4\n", "line 1: the label 'a.mp4' looks like a file"),
        ("a;b.mp4,x\nc;d.mp4,y\n", "line 1: comma and semicolon could both"),
        ('path,label\n"a.mp4,x\nb.mp4,y\n', "line 2: wrong quotation marks"),
        ('path,label\na.mp4,x"\n', "line 2: a quotation mark is within a cell"),
        ('path,label\na.mp4,y"x"\n', "line 2: a quotation mark is within a cell"),
        ("sep=~\na.mp4~x\n", "line 1: the separator '~'"),
        ("path,label\na.mp4,x\n".encode("utf-16-le"), "line 1: this is not UTF-8"),
        ("path,label\na.mp4,x\nb.mp4,\xe9\n".encode("latin-1"), "line 3: this is not UTF-8"),
        (f"path,label\na.mp4,x,{'y' * 10_000}\n", "line 2: 3 values"),
        (f"a.mp4,x,{'y' * 10_000}\n", "line 1: expected"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as refused:
        rows(tmp_path, text)
    assert len(str(refused.value)) < 700


def test_a_comment_that_names_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "#1.mp4").touch()
    with pytest.raises(InputError, match="line 2: a line that begins with # is a comment"):
        rows(tmp_path, "a.mp4,x\n#1.mp4,y\n")
    assert rows(tmp_path, './#1.mp4,y\n"#1.mp4",y\n')[1]["path"] == "#1.mp4"


def test_a_folder_may_be_called_like_a_column(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    assert rows(tmp_path, "video,polyp\nother,normal\n")[0] == {"path": "video", "label": "polyp"}


def test_marks_against_formulas_are_taken_off(tmp_path: Path) -> None:
    assert rows(tmp_path, "path,label\n'=a.mp4,'-1\n") == [{"path": "=a.mp4", "label": "-1"}]


def test_paths_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for text, expected in (
        ("a b.mp4\nc, d.mp4\n", ["a b.mp4", "c, d.mp4"]),
        ('"a b.mp4"\n', ["a b.mp4"]),
        ("path\na.mp4\n", ["a.mp4"]),
        ("label,path\nx,a.mp4\n", ["a.mp4"]),
        ("sep=;\na.mp4;x\n", ["a.mp4"]),
        ("", []),
    ):
        path.write_text(text)
        assert read_paths(path) == expected
