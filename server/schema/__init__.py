"""The server's tables (SQLAlchemy Core). Constraints state the invariants that a database can.

Times end in ``_ms`` (Unix milliseconds) or ``_s`` (Unix seconds); amounts are integer minor units
of the payment's currency. Ids of devices are key thumbprints, ids of payments and statements
UUIDs. Rows of ``statements``, ``payment_events``, ``pairings``, ``phone_events`` and of the
journal are written once and never change. Private keys are in the key store, never here.
"""
