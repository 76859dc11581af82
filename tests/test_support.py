"""The page of what is supported says what the reports say."""

import pytest
from support import PAGE, page


@pytest.mark.outside_sample
def test_the_page_is_that_of_the_reports():
    assert PAGE.read_text() == page(), "Write it anew with `python tests/support.py`."
