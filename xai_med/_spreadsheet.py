"""Text for tables that somebody may open in a spreadsheet."""

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")


def literal(text: str) -> str:
    """Text that a spreadsheet shows and does not run as a formula: class and file names are not ours.

    Parameters
    ----------
    text : str
        A name.
    """
    return f"'{text}" if text.startswith(_BEGINNINGS) else text
