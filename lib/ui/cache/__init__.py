"""The page of remembered answers."""
