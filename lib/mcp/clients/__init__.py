"""The protocol's client: the only code of ours that imports it. Runs in the runner's process, never in a server's."""
