"""Making a VM: what was asked for becomes a plan, and the plan becomes rows, in one transaction."""
