"""Commands about what acts: tools and their approvals."""
