"""AI calls that stay answered when providers fail."""

__version__ = "0.1.0"
__all__ = ["__version__"]
