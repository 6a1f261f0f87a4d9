"""What strangers bring, read in child processes with little memory, little time, an empty environment and no network.

`child` runs one program of ours once under limits; `worker` keeps one warm for small jobs; `rules` are those jobs
(patterns, JSON Schemas, likeness of texts); `slots` says how many run at once, in the process and for one person.
"""
