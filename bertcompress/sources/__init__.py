"""Where models and rows come from: files, installed packages, the Hub."""
