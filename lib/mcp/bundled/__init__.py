"""Four servers of tools that come with the product: files, databases, this installation, code and templates."""
