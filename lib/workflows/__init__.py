"""Workflows: definitions as data, versions that never change, durable runs, quotes, tests, schedules and webhooks."""
