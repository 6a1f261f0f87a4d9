"""The parts of the page Tools, and tool calls as cards in answers."""
