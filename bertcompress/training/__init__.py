"""The one training loop, its checkpoints and log, and what it trains: teacher and student."""
