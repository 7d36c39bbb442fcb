"""Text ROIs: parsed strictly, drawn so that answers can be counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccb_lib.datasets.examples.ild import box, write_rois
from ccb_lib.datasets.ild_rois import draw, read_rois

TEXT = """Study: 1.2.840.113619.2
Series: 1.2.840.113619.3
SpacingX: 0.5
SpacingY: 0.8
SpacingZ: 10.0
----------------------------------

label: fibrosis
localisation: diffuse
slice_number: 10
nb_points_on_contour: 3
1.0 1.6
2.0 1.6

2.0 3.2
nb_points_on_contour: 4
0 0
1 0
1 1
0 1
slice_number: 11
nb_points_on_contour: 3
----------
10 8
20 8
20 16

label: Healthy
slice_number: 2
nb_points_on_contour: 3
1 1
2 1
2 2
"""


def parse(tmp_path, text):
    (tmp_path / "CT-INSPIRIUM-1.txt").write_text(text)
    return read_rois(tmp_path / "CT-INSPIRIUM-1.txt")


def test_a_file_by_hand(tmp_path):
    rois = parse(tmp_path, TEXT)
    assert rois.series == "1.2.840.113619.3"
    assert [(c.label, c.slice_number, c.line) for c in rois.contours] == [
        ("fibrosis", 10, 11),
        ("fibrosis", 10, 16),
        ("fibrosis", 11, 22),
        ("healthy", 2, 30),
    ]
    assert rois.contours[0].points.tolist() == [[2, 2], [4, 2], [4, 4]]  # mm / (0.5, 0.8)
    assert rois.contours[2].points.tolist() == [[20, 10], [40, 10], [40, 20]]


def test_windows_line_ends_and_tabs_are_understood(tmp_path):
    (tmp_path / "a.txt").write_bytes(
        TEXT.replace("\n", "\r\n").replace("1.0 1.6", " 1.0\t1.6 ").encode()
    )
    assert read_rois(tmp_path / "a.txt").contours[0].points.tolist() == [[2, 2], [4, 2], [4, 4]]


def test_an_empty_file_has_no_contours(tmp_path):
    assert parse(tmp_path, "").contours == []
    assert parse(tmp_path, TEXT.split("label")[0]).contours == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.0 3.2\n", "", "line 15: 2 points where line 11 announces 3"),
        ("2.0 3.2\n", "2.0 3.2\n9 9\n", "line 16: '9 9' where no point is expected"),
        ("2.0 3.2\n", "2.0\n", "line 15: '2.0' is no point"),
        ("2.0 3.2\n", "2.0 3,2\n", "line 15: '3,2' is no number"),
        ("2.0 3.2\n", "2.0 nan\n", "line 15: 'nan' is no number"),
        ("2.0 3.2\n", "2.0 3.2 1.0\n", "is no point"),
        ("contour: 3\n1.0", "contour: three\n1.0", "line 11: 'three' is no whole number"),
        ("contour: 3\n1.0", "contour: -3\n1.0", "is no whole number"),
        ("slice_number: 10", "slice_number: ten", "'ten' is no whole number"),
        ("slice_number: 10", "slice_number: 0", "counted from 1"),
        ("SpacingX: 0.5\n", "", "a contour before any spacingx"),
        ("SpacingX: 0.5", "SpacingX: 0", "spacingx is 0 mm"),
        ("label: fibrosis\n", "", "a contour before any label"),
        ("slice_number: 10\n", "", "a contour before any slice_number"),
        ("label: Healthy", "labl: Healthy", "line 28: 'labl' is none of"),
        ("2 2\n", "", "2 points where line 30 announces 3"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, old, new, message):
    text = (
        TEXT[::-1].replace(old[::-1], new[::-1], 1)[::-1]
        if old == "2 2\n"
        else TEXT.replace(old, new, 1)
    )
    assert text != TEXT
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse(tmp_path, text)


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="0123456789.- \n:labesicntrfo_puk", max_size=300))
def test_no_text_breaks_the_parser_otherwise(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "fuzz.txt"
    file.write_text("SpacingX: 1\nSpacingY: 1\n" + text)
    message = "line "
    try:
        read_rois(file)
    except ValueError as error:
        message = str(error)
    assert message.startswith("line ")


def test_what_is_written_is_read(tmp_path):
    contours = [
        ("fibrosis", 1, box(3, 4, 50, 60)),
        ("fibrosis", 1, box(70, 4, 80, 60)),
        ("pcp", 3, box(0, 0, 9, 9)),
    ]
    write_rois(tmp_path / "a.txt", contours, spacing=(0.833984375, 0.7))
    got = read_rois(tmp_path / "a.txt").contours
    assert [(c.label, c.slice_number) for c in got] == [
        ("fibrosis", 1),
        ("fibrosis", 1),
        ("pcp", 3),
    ]
    for contour, (_, _, points) in zip(got, contours, strict=True):
        np.testing.assert_allclose(contour.points, points, atol=1e-9)
    assert (tmp_path / "a.txt").read_text().count("label:") == 2


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 10), st.integers(1, 10))
def test_a_box_covers_exactly_its_pixels(left, top, width, height):
    expected = np.zeros((40, 40), dtype=bool)
    expected[top : top + height, left : left + width] = True
    points = box(left, top, left + width, top + height)
    for corners in (
        points,
        points[::-1],
        np.roll(points, 1, axis=0),
        np.vstack([points, points[:1]]),
    ):
        np.testing.assert_array_equal(draw(corners, (40, 40)), expected)


def test_a_pixel_is_in_where_its_centre_is():
    assert draw(box(2.4, 2.4, 4.6, 4.6), (8, 8)).sum() == 9  # centres 2.5, 3.5, 4.5
    assert draw(box(2.6, 2.6, 4.4, 4.4), (8, 8)).sum() == 1  # centre 3.5
    triangle = draw(np.array([[0, 0], [8, 0], [0, 8]]) - 0.01, (8, 8))
    assert triangle.sum(axis=1).tolist() == [
        7,
        6,
        5,
        4,
        3,
        2,
        1,
        0,
    ]  # centres with x + y < 8 − 0.02


def test_contours_may_touch_the_edge_but_not_leave_the_slice():
    assert draw(box(-0.5, -0.5, 8.5, 8.5), (8, 8)).all()
    assert not draw(np.array([[1.0, 1.0], [5.0, 5.0]]), (8, 8)).any()
    with pytest.raises(ValueError, match=r"beyond the slice of 8×8 px"):
        draw(box(0, 0, 12, 4), (8, 8))
