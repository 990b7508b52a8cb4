"""Reports: what listens to the events of a run, and the forms in which a finding is written."""
