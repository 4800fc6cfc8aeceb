"""`python -m producers reconcile`: is the database what the chain is?"""
