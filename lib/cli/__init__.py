"""The command line: a door into the services for the machine's own operator, who may do everything."""
