"""HTML of messages is cleaned: nothing of it runs or loads by itself, and pictures of the message still show."""

import pytest

from duckmail.mime.clean import clean


@pytest.mark.parametrize(
    ("source", "left"),
    [
        pytest.param("<p>a<script>alert(1)</script>b</p>", "<p>ab</p>", id="scripts-go-with-what-is-in-them"),
        pytest.param("<style>p{position:fixed}</style><p>x</p>", "<p>x</p>", id="style-sheets"),
        pytest.param('<p onclick="x()">x</p>', "<p>x</p>", id="handlers"),
        pytest.param('<a href="javascript:x()">x</a>', '<a rel="noopener noreferrer">x</a>', id="javascript-links"),
        pytest.param('<img src="cid:a@b">', '<img src="cid:a@b">', id="parts-by-cid"),
        pytest.param('<img src="attachment:ATT00001">', '<img src="attachment:ATT00001">', id="parts-by-attachment"),
        pytest.param('<img src="data:text/html,x">', "<img>", id="data-urls"),
        pytest.param('<p style="color:red;position:fixed">x</p>', '<p style="color:red">x</p>', id="harmless-styles"),
        pytest.param('<p style="color:url(http://a)">x</p>', "<p>x</p>", id="styles-that-load"),
        pytest.param('<form action="http://a"><input name="b">x</form>', "x", id="forms"),
        pytest.param('<iframe src="http://a">x</iframe>y', "y", id="frames"),
        pytest.param("<svg><script>x</script></svg><math>y</math>z", "z", id="foreign-elements"),
        pytest.param('<meta http-equiv="refresh" content="0"><base href="http://a">x', "x", id="head"),
        pytest.param('<font color="red" face="a">x</font>', '<font color="red" face="a">x</font>', id="old-markup"),
        pytest.param("a<!-- x -->b", "ab", id="comments"),
        pytest.param("<p>x<b", "<p>x</p>", id="broken"),
    ],
)
def test_clean(source: str, left: str) -> None:
    assert clean(source) == left
