"""The two teams with a meaning of their own; loads nothing of the store."""

FIRST_TEAM = 1  # what is older than teams belongs to it
ALL_TEAMS = 0
