"""Files that come from outside and go there: text, rows, the values in them, and cells that no spreadsheet runs."""
