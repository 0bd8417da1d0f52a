"""How an agent and its machine are: noted in the trace as it changes, and once a minute."""
