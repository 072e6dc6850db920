"""Making a host ready to give its GPUs to VMs: what is there, what is to be done about it, doing and undoing that."""
