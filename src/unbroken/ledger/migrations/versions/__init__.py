"""One file for each step, from nothing to what `tables` describes; a step that was published is never changed."""
