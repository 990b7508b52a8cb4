"""Campaigns: a plan explored by lanes of workers, on record, and with a canary."""
