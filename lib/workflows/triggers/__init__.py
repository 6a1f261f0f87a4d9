"""What begins runs besides a person on the page: schedules, webhooks, conversations, tables, models with tools."""
