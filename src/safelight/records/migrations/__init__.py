"""How the tables of the records came to be what they are, step by step (Alembic)."""
