"""The files of the status page, served as they are."""
