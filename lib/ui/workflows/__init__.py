"""What the Workflows page draws: the list, one workflow, one run, the drawing."""
