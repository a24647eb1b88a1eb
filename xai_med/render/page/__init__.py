"""Pages to look with: one self-contained HTML file."""

from xai_med.render.page.build import html_page, save_page

__all__ = ["html_page", "save_page"]
