"""The documentation site: how it is built, and the pages of it that are written from the code."""
