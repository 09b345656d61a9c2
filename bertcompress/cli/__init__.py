"""The command line: the app, the options that commands share, and the commands."""
