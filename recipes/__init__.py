"""Recipes that ship with bertcompress: one YAML file each, found by name by `bertcompress run NAME`."""
