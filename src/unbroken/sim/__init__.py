"""The decision core under virtual time."""
