"""`python -m consumer api`: what a person may ask of their own wallet."""
