"""What is said (the three messages) and what is kept (the tables). Imports nothing of ours."""
