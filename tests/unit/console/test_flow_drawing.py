"""Pictures of numbers: never blank, within their frame, whatever the numbers and the names are."""

import re
import xml.etree.ElementTree as ET
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.flow_drawing import HEIGHT, WIDTH, bars, fan, lines, number, rows, top_of
from tests.hostile import HOSTILE, commanding

SVG: Final = "{http://www.w3.org/2000/svg}"
NAMES: Final = ["event", "95 of 100", f"</title><script>{HOSTILE}", "x" * 5_000, ""]
NUMBERS: Final = st.one_of(st.none(), st.floats(0, 1e12), st.integers(0, 10**12).map(float))


def parsed(picture: str) -> ET.Element:
    """Return a picture as XML, after a look at what each must have."""
    root = ET.fromstring(picture)
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert root.get("role") == "img"
    assert root.find(f".//{SVG}script") is None
    assert commanding(picture) == []
    assert not re.search(r"\b(style|on\w+)=", picture)
    assert "nan" not in picture
    assert "inf" not in re.sub(r"<(title|desc|text).*?</\1>", "", picture)
    return root


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=5))
def test_every_bar_stands_within_the_frame(numbers: list[list[float | None]]) -> None:
    series = dict(zip(NAMES, numbers, strict=False))
    times = ["08:00", "08:05", HOSTILE]
    for picture in (bars("Bars", times, series, "a minute"), rows("Rows", times, series)):
        root = parsed(picture)
        tall = float(root.get("height", "0"))
        for rect in root.iter(f"{SVG}rect"):
            x, y, wide, high = (float(rect.get(name, "nan")) for name in ("x", "y", "width", "height"))
            assert -0.2 <= x <= x + wide <= WIDTH + 0.2
            assert -0.2 <= y <= y + high <= tall + 0.2
    for path in parsed(lines("Lines", times, series, "s")).iter(f"{SVG}path"):
        heights = re.findall(r"[ML][\d.]+ (-?[\d.]+)", path.get("d", ""))
        assert all(-0.1 <= float(each) <= HEIGHT + 0.1 for each in heights)


def test_nothing_and_one_point_are_drawn() -> None:
    for times, values in (([], []), (["08:00"], [3.0]), (["08:00"], [None])):
        for picture in (bars("B", times, {"event": values}, "x"), lines("L", times, {"event": values}, "x")):
            parsed(picture)
        parsed(rows("R", times, {"event": values}))
        parsed(rows("R", times, {}))
    assert "M396.0 64.0h0" in lines("L", ["08:00"], {"event": [3.0]}, "x")
    parsed(fan("F", "raw", []))


def test_a_line_stops_at_a_gap() -> None:
    root = parsed(lines("L", list("abcde"), {"event": [1.0, 2.0, None, 1.0, 1.0]}, "s"))
    (line,) = [each for each in root.iter(f"{SVG}path") if "line" in each.get("class", "")]
    assert re.sub(r"[\d. ]+", "", line.get("d", "").replace("h0", "")) == "MLML"


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.floats(0, 1e12)), max_size=20))
def test_every_band_of_a_fan_is_seen_and_named(ends: list[tuple[str, str, float]]) -> None:
    root = parsed(fan("F", "raw records", ends))
    bands = [each for each in root.iter(f"{SVG}path") if "band" in each.get("class", "")]
    assert len(bands) == len(ends)
    assert all(each.findtext(f"{SVG}title") for each in bands)
    tall = float(root.get("height", "0"))
    assert all(float(each.get("y", "nan")) <= tall for each in root.iter(f"{SVG}text"))


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.003, 0.01), (0.3, 0.5), (1, 1), (1.5, 2), (3, 5), (5.1, 10), (99, 100), (120, 200)]
)
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert top_of(value) == pytest.approx(top)


@given(st.floats(0, 1e12))
def test_a_scale_has_room(value: float) -> None:
    assert value <= top_of(value) <= max(1.0, value * 2.6)


def test_numbers_are_written_as_people_read_them() -> None:
    assert [number(each) for each in (0, 3.0, 0.25, 1234.5, 12_000.0)] == ["0", "3", "0.25", "1,234", "12,000"]
