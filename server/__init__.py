"""The server: knows which phone belongs to which jack, runs the payment."""
