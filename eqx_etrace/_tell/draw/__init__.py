from ._picture import make_picture
from ._render import Drawing, render
