"""What all parties of the method share: the protocol, radios, key stores and process shells."""
