"""Pictures of maps; matplotlib and Pillow are imported when something is drawn."""

from xai_med.render.clear import class_hues, clear_figure, clear_picture
from xai_med.render.colour import Scale, colourise, scale_for, to_bytes
from xai_med.render.figure import picture, save_figure
from xai_med.render.montage import CHEXNET_PROFILE, chexnet_levels, chexnet_montage, chexnet_tile, montage
from xai_med.render.overlay import displayed, overlay
from xai_med.render.page import html_page, save_page
from xai_med.render.slices import Slice, choose_slice

__all__ = [
    "CHEXNET_PROFILE",
    "Scale",
    "Slice",
    "chexnet_levels",
    "chexnet_montage",
    "chexnet_tile",
    "choose_slice",
    "class_hues",
    "clear_figure",
    "clear_picture",
    "colourise",
    "displayed",
    "html_page",
    "montage",
    "overlay",
    "picture",
    "save_figure",
    "save_page",
    "scale_for",
    "to_bytes",
]
