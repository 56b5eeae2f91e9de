"""Where facts go besides the board; a sink that breaks loses facts, never requests."""
