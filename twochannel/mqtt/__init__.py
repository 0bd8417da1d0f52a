"""Tells an MQTT broker live how an agent is (docs/mqtt.md); loaded only if it is asked for."""
