"""Text of others inside a card: shown as it is, on one line, whatever it holds."""

from __future__ import annotations

import pytest

from endofm.hub.card_text import as_code, as_text, one_line


@pytest.mark.parametrize(
    "name", ["endofm-base-8x224", "endo_fm v2.1 (ours)", "Élodie's polyps, 50 %", "日本 4+", "a: b"]
)
def test_ordinary_names_stay(name: str) -> None:
    assert as_text(name) == one_line(name) == name
    assert as_code(name) == f"`{name}`"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("x\n## Evaluation\n\nAUROC 0.99", "x ## Evaluation AUROC 0.99"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", "&#49;. item"),
        ("---", r"\---"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("![x](http://y)", "!&#91;x&#93;(http://y)"),
        ("a | b", "a &#124; b"),
        ("_so_ *so* ~~so~~ `so` $so$", r"\_so\_ \*so\* \~\~so\~\~ \`so\` \$so\$"),
        ("&lt;", "&amp;lt;"),
        ("a\x1b[31mb", r"a\\x1b&#91;31mb"),
        ("a\u202eb", r"a\\u202eb"),
        ("  ", ""),
    ],
)
def test_markup_is_shown_and_not_obeyed(given: str, shown: str) -> None:
    assert as_text(given) == shown


def test_long_texts_are_cut() -> None:
    assert len(one_line("x" * 10**6)) == 200
    assert one_line("x" * 201).endswith("x...")
    assert one_line("x y " * 500, limit=40) == f"{'x y ' * 9}x..."


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a_*b*", "`a_*b*`"),
        ("`x`", r"\`x\`"),
        ("<b>", "&lt;b&gt;"),
        ("a\n\n# b", "`a # b`"),
        ("a|b", "a&#124;b"),
        ("", ""),
    ],
)
def test_a_code_span_is_for_names(given: str, shown: str) -> None:
    assert as_code(given) == shown
