"""Pages of reports in a real browser: they draw, ask for nothing, and take hostile names for data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import numpy as np
import pytest

from endofm import EndoFM, VideoFeatures, demo_video, open_video
from endofm.errors import visible
from endofm.output_place import place_of
from endofm.report.contents import ProcedureReport, build_report
from endofm.report.page import read_icon, relative_link, render_index, render_procedure
from endofm.report.shots import Shot, encode_picture
from endofm.report.task_sections import Span, TaskSection
from helpers.browser import Visit, browser, visit

HOSTILE = "\"'><img src=x onerror=alert(1)>&amp;\u2028\u202e{{7*7}}</script><script>alert(2)</script>"
"""Name of a label, a file's name apart from the slashes, a problem."""

FILE_NAME = HOSTILE.replace("/", "\u2215") + " 100%#1?.mp4"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def features() -> VideoFeatures:
    model = EndoFM.from_pretrained("endofm-nano-4x96")
    return model.extract_features(demo_video(), window_seconds=1, hop_seconds=0.5, progress=False)


@pytest.fixture(scope="module")
def report(features: VideoFeatures) -> ProcedureReport:
    grey = encode_picture(np.full((60, 80, 3), 90, np.uint8), 80)
    section = TaskSection(
        title=HOSTILE,
        measure="probability",
        labels=("polyp", HOSTILE),
        spans=tuple(Span(float(second), second + 1.0, (second / 20, 1 - second / 20)) for second in range(20)),
        summary=HOSTILE,
        brief=HOSTILE,
        weights=HOSTILE,
        shots=(Shot(3.0, grey, HOSTILE),),
        untrained=True,
    )
    video = {**features.provenance["video"], "name": FILE_NAME}
    hostile = replace(features, provenance={**features.provenance, "video": video, "problems": [HOSTILE]})
    with open_video(demo_video()) as source:
        encoder = EndoFM.from_pretrained("endofm-nano-4x96")
        return build_report(hostile, source, name=FILE_NAME, encoder=encoder, sections=[section])


@pytest.fixture(scope="module")
def page_path(report: ProcedureReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    video = folder / "a folder" / FILE_NAME
    video.parent.mkdir()
    shutil.copy(demo_video(), video)
    path = folder / "reports" / "page.html"
    path.parent.mkdir()
    path.write_text(render_procedure(report, video=relative_link(video, path), index="index.html"), encoding="utf-8")
    return path


@pytest.fixture
def opened(chromium: Any, page_path: Path) -> Iterator[Visit]:
    with visit(chromium, page_path) as found:
        yield found


def test_the_page_opens_quietly_and_asks_for_nothing(opened: Visit, page_path: Path) -> None:
    assert opened.complaints == []
    assert opened.requests == [page_path.as_uri()]
    assert opened.page.title() == f"{visible(FILE_NAME)} - endofm report"
    assert opened.page.locator("h1").inner_text() == visible(FILE_NAME)


def test_names_are_data_everywhere(opened: Visit, page_path: Path) -> None:
    page = opened.page
    # The scripts of the package and the data, but none of a name.
    assert page.locator("script").count() == 4
    assert page.locator("img[src='x']").count() == 0
    assert "49" not in page.locator("#task-1 p").first.inner_text()
    assert page.locator("#problems li").inner_text() == visible(HOSTILE)
    # The legend of the chart, which comes through the data and is cut short.
    assert visible(HOSTILE)[:40] in page.locator("#chart-task-1 svg").text_content()
    text = page_path.read_text(encoding="utf-8")
    assert text.count("</script>") == 4
    assert "\u2028" not in text
    assert "\u202e" not in text


def test_times_lead_to_the_video(opened: Visit, page_path: Path) -> None:
    links = opened.page.locator("main a").evaluate_all("(all) => all.map((one) => one.href)")
    assert len(links) > 40
    for link in links:
        parts = urlsplit(urljoin(page_path.as_uri(), link))
        assert Path(os.fsdecode(unquote_to_bytes(parts.path))).name == FILE_NAME
        assert Path(os.fsdecode(unquote_to_bytes(parts.path))).is_file()
        assert parts.fragment.startswith("t=")
        assert 0 <= float(parts.fragment[2:]) <= 20


def test_everything_is_drawn_in_its_place(opened: Visit, tmp_path: Path) -> None:
    page = opened.page
    boxes = [chart.bounding_box() for chart in page.locator(".chart svg").all()]
    assert len(boxes) == 3
    assert all(box["width"] > 400 and box["height"] > 100 for box in boxes)
    sections = [section.bounding_box() for section in page.locator("main > section").all()]
    assert all(first["y"] + first["height"] <= second["y"] for first, second in pairwise(sections))
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 1240 for box in [*boxes, *sections])
    # Six segments, and as many labels of peaks as there are peaks.
    drawn = page.locator("#chart-timeline svg").text_content()
    assert all(str(number) in drawn for number in range(1, page.locator("#segments tbody tr").count() + 1))
    peaks = page.locator("#timeline tbody tr td:first-child").all_text_contents()
    assert peaks
    assert all(peak in drawn for peak in peaks)
    # Pixels: many colours in the map, the curve, and every picture.
    for name in ("#map", "#chart-timeline", "#frames"):
        path = tmp_path / "shot.png"
        page.locator(name).screenshot(path=path)
        with open_video(path) as source:
            frame = next(iter(source)).data
        assert len(np.unique(frame.reshape(-1, 3) // 16, axis=0)) > 12, name


def test_pictures_have_descriptions_and_load(opened: Visit) -> None:
    images = opened.page.locator("img").evaluate_all("(all) => all.map((one) => [one.alt, one.naturalWidth, one.src])")
    assert len(images) > 40
    assert all(alt.strip() and width > 0 and source.startswith("data:image/") for alt, width, source in images)
    for chart in opened.page.locator(".chart svg").all():
        assert chart.get_attribute("role") == "img"
        assert "table" in chart.get_attribute("aria-label")


def test_the_structure_is_that_of_a_document(opened: Visit) -> None:
    page = opened.page
    assert page.locator("h1").count() == page.locator("main").count() == page.locator("header").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("section").evaluate_all(
        "(all) => all.every((one) => document.getElementById(one.getAttribute('aria-labelledby')).tagName === 'H2')"
    )
    assert page.locator("thead th").evaluate_all("(all) => all.every((one) => one.scope === 'col')")
    targets = page.locator("nav a[href^='#']").evaluate_all("(all) => all.map((one) => one.hash.slice(1))")
    assert targets
    assert all(page.locator(f"[id='{target}']").count() == 1 for target in targets)
    assert "medical advice" in page.locator("[role=note]").inner_text()
    assert "random" in page.locator("[role=note]").inner_text()


def test_the_pointer_reads_the_charts(opened: Visit) -> None:
    page = opened.page
    page.locator("#chart-timeline").scroll_into_view_if_needed()
    box = page.locator("#chart-timeline svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
    page.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + box["height"] * 0.6)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "time" in page.locator("#vg-tooltip-element").inner_text()
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.3)
    page.wait_for_function("document.getElementById('map-readout').textContent.includes('similarity')")
    first, second, value = page.locator("#map-readout").inner_text().replace(": similarity", " and").split(" and ")
    assert first != second
    assert 0 < float(value) < 1


def test_the_keyboard_reaches_everything_in_order(opened: Visit) -> None:
    page = opened.page

    def focused() -> str:
        name: str = page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        return name

    page.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    page.keyboard.press("Tab")
    assert focused() == "theme"
    page.keyboard.press("Tab")
    assert focused() == "print"
    page.keyboard.press("Tab")
    assert focused() == "Timeline"
    summary = page.locator("#timeline summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#timeline details table").is_visible()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_light_and_dark(chromium: Any, page_path: Path) -> None:
    def brightness(visited: Visit) -> list[float]:
        colours = visited.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
            "getComputedStyle(document.querySelector('#chart-timeline .role-axis-label text, "
            "#chart-timeline .role-axis text')).fill]"
        )
        return [np.mean([int(part) for part in colour[4:-1].split(",")]) for colour in colours]

    with visit(chromium, page_path, dark=True) as visited:
        background, text, label = brightness(visited)
        assert background < 40 < 200 < min(text, label)
        button = visited.page.locator("#theme")
        assert (button.inner_text(), button.get_attribute("aria-pressed")) == ("Light colours", "true")
        button.focus()
        visited.page.keyboard.press("Enter")
        background, text, label = brightness(visited)
        assert background > 200 > 60 > max(text, label)
        assert button.get_attribute("aria-pressed") == "false"
        visited.page.reload()
        assert visited.page.locator("html").get_attribute("data-theme") == "light"
    with visit(chromium, page_path) as visited:
        assert brightness(visited)[0] > 200
        visited.page.locator("#theme").click()
        assert brightness(visited)[0] < 40
        # Paper is white whatever the screen shows.
        visited.page.emulate_media(media="print")
        assert brightness(visited)[0] == 255
        assert not visited.page.locator("#theme").is_visible()
        assert len(visited.page.pdf()) > 10_000


def test_narrow_screens_do_not_scroll_sideways(chromium: Any, page_path: Path) -> None:
    with visit(chromium, page_path, width=390) as visited:
        assert visited.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_browser_is_told_to_run_nothing_else(opened: Visit) -> None:
    policy = opened.page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-eval" not in policy
    scripts = policy.split("script-src ")[1].split(";")[0]
    assert "unsafe-inline" not in scripts
    # An inserted script does not run, and a request does not leave.
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }), "
        "Object.assign(new Image(), { src: 'http://127.0.0.1:9/x.png' }))"
    )
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in complaint for complaint in opened.complaints) == 2


def test_without_the_video_there_are_charts_and_no_pictures(
    features: VideoFeatures, chromium: Any, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    bare = build_report(features, None, name="procedure.mp4")
    path.write_text(render_procedure(bare, video=None), encoding="utf-8")
    with visit(chromium, path) as visited:
        assert visited.complaints == []
        assert visited.page.locator("img").count() == visited.page.locator("main a").count() == 0
        assert "no pictures" in visited.page.locator("#problems").inner_text()
    assert read_icon(place_of(tmp_path), path.name) == ""
    assert read_icon(place_of(tmp_path), "missing.html") == ""


def test_the_table_of_procedures(chromium: Any, page_path: Path, tmp_path: Path) -> None:
    rows = [
        {
            "name": name,
            "href": "./page.html" if not error else "",
            "icon": read_icon(place_of(page_path.parent), page_path.name) if not error else "",
            "seconds": seconds,
            "segments": segments,
            "results": [result],
            "problems": (),
            "error": error,
        }
        for name, seconds, segments, result, error in [
            ("b 10.mp4", 300.0, 4, "colon (0.9)", ""),
            ("a.mp4", 4000.0, 12, "larynx (0.8)", ""),
            ("b 2.mp4", 0.0, 0, "", f"b 2.mp4: {HOSTILE}"),
            (HOSTILE, 20.0, 6, HOSTILE, ""),
        ]
    ]
    path = tmp_path / "index.html"
    path.write_text(render_index(rows, [(HOSTILE, HOSTILE)]), encoding="utf-8")
    with visit(chromium, path) as visited:
        page = visited.page
        assert visited.complaints == []
        assert visited.requests == [path.as_uri()]
        assert page.locator("img").count() == 3
        assert page.locator("img").evaluate_all("(all) => all.every((one) => one.naturalWidth > 0)")

        def names() -> list[str]:
            return [text.strip() for text in page.locator("tbody tr:visible th").all_text_contents()]

        def sort(column: str) -> None:
            # By keyboard: what the pointer can do, it can do, too.
            page.get_by_role("button", name=column).focus()
            page.keyboard.press("Enter")

        sort("Procedure")
        assert [name for name in names() if name.endswith("mp4")] == ["a.mp4", "b 2.mp4", "b 10.mp4"]
        sort("Length")
        assert names() == ["b 2.mp4", visible(HOSTILE), "b 10.mp4", "a.mp4"]
        head = page.locator("th", has_text="Length")
        assert head.get_attribute("aria-sort") == "ascending"
        sort("Length")
        assert names()[0] == "a.mp4"
        assert head.get_attribute("aria-sort") == "descending"
        assert page.locator("th", has_text="Procedure").get_attribute("aria-sort") == "none"
        page.get_by_label("Search").fill("COLON")
        assert names() == ["b 10.mp4"]
        assert page.get_by_role("status").inner_text() == "1 of 4 procedures"
        page.get_by_label("Search").fill("failed")
        assert names() == ["b 2.mp4"]
        assert page.locator("tbody a:visible").count() == 0
        page.get_by_label("Search").fill("")
        page.get_by_role("link", name="a.mp4").focus()
        assert page.evaluate("document.activeElement.getAttribute('href')") == "./page.html"


def test_links_keep_the_bytes_of_names(tmp_path: Path) -> None:
    page = tmp_path / "out" / "page.html"
    link = relative_link(tmp_path / "caf\udce9 #1.mp4", page)
    assert link == "./../caf%E9%20%231.mp4"
    assert relative_link(tmp_path / "out" / "a:b.mp4", page) == "./a%3Ab.mp4"
