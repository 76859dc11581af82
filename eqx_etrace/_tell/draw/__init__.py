from ._picture import make_picture as make_picture
from ._render import Drawing as Drawing
from ._render import render as render
