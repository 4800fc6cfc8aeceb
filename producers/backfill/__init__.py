"""`python -m producers backfill`: a stretch of the history, read again."""
