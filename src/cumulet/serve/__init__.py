"""The composition root: settings become a running cloud. The only place that knows every part by name.

`build.build` puts it together, on the hosts and the fabric that `backends` opens; `run.serve` runs it.
"""
