"""Commands about people, teams, keys and secrets."""
