"""What each kind of node does: `resolve` computes what goes into a step, `perform` makes its result."""
