"""The page of what is supported says what the reports say."""

from support import PAGE, page


def test_the_page_is_that_of_the_reports():
    assert PAGE.read_text() == page(), "Write it anew with `python tests/support.py`."
