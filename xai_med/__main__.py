"""``python -m xai_med`` is the command line."""

from xai_med.cli import main

if __name__ == "__main__":
    main()
