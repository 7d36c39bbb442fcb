"""Images of doubtful terms stay out of notebooks for download and of sites built for others."""

import pytest
from matplotlib.figure import Figure

from ccb_lib.chapters.publishing import third_party_images


@pytest.mark.parametrize(("value", "shown"), [(None, True), ("", True), ("0", True), ("1", False)])
def test_a_site_for_others_shows_a_line_instead(monkeypatch, value, shown):
    monkeypatch.delenv("PUBLISH", raising=False)
    if value is not None:
        monkeypatch.setenv("PUBLISH", value)
    figure = Figure()
    result = third_party_images(figure)
    assert (result is figure) == shown
    assert shown or "terms of use" in result.data
