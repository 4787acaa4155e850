"""Maintenance: the doctor, and verifying every blob and row of a home against each other."""
