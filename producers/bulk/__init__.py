"""`python -m producers wallets`: the rows of wallets, one or a million."""
