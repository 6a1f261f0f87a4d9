"""What the page Approvals draws: requests that wait, decided ones, and what runs without a question."""
