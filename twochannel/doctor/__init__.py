"""What a machine must be like for an agent to work on it: read, judged, told with the cure."""
