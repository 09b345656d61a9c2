"""The figures of the report: each draws one thing, or returns None where the data has no points."""
