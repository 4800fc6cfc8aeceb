"""`python -m producers poll`: every wallet's state, on a schedule."""
