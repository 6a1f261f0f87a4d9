"""Decisions that people take before something acts: a tool that wants to run, a step of a workflow."""
