"""Tools that models, workflows and people run: native functions, HTTP tools, and those of servers.

`tool` holds the values that everybody shares; `registry` is the service: which tools a person may use, and `run`.
"""
