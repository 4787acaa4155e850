"""The command ``limner``, also as ``python -m limner``; quiet when it is stopped before it has begun."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Import and run the command line; loading it takes long enough to be interrupted."""
    try:
        from limner.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    from limner.processes import forget_current_folder

    forget_current_folder()
    main()
