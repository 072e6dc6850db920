"""The doctor examines a machine and makes it into a host; it knows nothing of the cloud above it.

`examine.examine` says what is there in words; `prepare.prepare_host` installs and starts what is missing;
`bridges.ensure_external_bridge` leads a data center's external range out to the world. Nothing is imported here, so
that the supervisor, which lives as long as the host, stays small.
"""
