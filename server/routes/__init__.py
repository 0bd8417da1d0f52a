"""The doors of the server: one noun per file, each with its OpenAPI description."""
