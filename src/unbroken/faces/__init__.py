"""The ways in: gateway, command line, Python client."""
