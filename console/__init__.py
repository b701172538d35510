"""The operators' console: what the commands show, for a browser. Pages are made on the server, from the operators'."""
