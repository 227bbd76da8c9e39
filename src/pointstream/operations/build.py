"""What is running."""

from importlib import metadata

__all__ = ["program_version"]


def program_version() -> str:
    """Return the version of the program; "unknown" where it runs without being installed."""
    try:
        return metadata.version("pointstream")
    except metadata.PackageNotFoundError:
        return "unknown"
