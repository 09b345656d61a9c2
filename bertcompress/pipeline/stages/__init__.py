"""The stages of a run, one file each, named as `run` prints them; `flow` has them in order."""
