"""What mkdocs calls while it builds the site: pages generated from the code, never committed."""
