"""The drawing of workflows in the browser: its source, its build, and the component that mounts it."""
