"""The doctor examines a machine and makes it into a host; it knows nothing of the cloud above it.

All of it runs where the host is: `calls` names what may be asked of it. Nothing is imported here, so that the
supervisor, which lives as long as the host, stays small.
"""
