"""The pages of the site; Python is what generates some of them."""
