"""Servers of tools that speak the Model Context Protocol: four of this product's own, and those of others.

`bundled` holds our own, as plain functions. `catalogue` is the register of servers of others, `pins` says which of
their tools are approved, `host` is the process that runs them, `calls` reaches it, and `serving` offers tools to
clients outside. The package `clients` alone imports the protocol's client, and only the host imports that.
"""
