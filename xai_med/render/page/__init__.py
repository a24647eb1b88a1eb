"""Pages to look with: one self-contained HTML file."""

from xai_med.render.page.build import html_page, save_page
from xai_med.render.page.notebook import notebook_frame

__all__ = ["html_page", "notebook_frame", "save_page"]
