"""`python -m bertcompress.cli`, which `accelerate launch` starts."""

from bertcompress.cli.app import app

app()
