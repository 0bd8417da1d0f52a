"""The history of the schema (Alembic), packaged with the server."""
