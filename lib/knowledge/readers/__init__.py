"""What stands in a file, by its kind: Word, PowerPoint, Excel, PDF, HTML and tables; and how much of it was read.

A reader walks down every element that it does not know and silences a few that it names, so that a wrapper nobody
thought of hides no words. `coverage` counts the file's words in another way, and says what share came out.
"""
