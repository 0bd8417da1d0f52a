"""The dashboard: what a server does and has done, for its operators, in a browser.

It reads on a connection of its own in a thread of its own, so that nobody who pays waits for it.
"""
