"""Jobs: submitting, running, watching, cancelling, and doing nothing twice."""
