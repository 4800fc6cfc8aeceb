"""The pipeline tortured: real processes and stores, everything that can go wrong, and an oracle that judges the end."""
