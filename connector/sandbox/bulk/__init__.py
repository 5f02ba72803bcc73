"""Bulk API 2.0: jobs that query or take in rows as CSV, and the states they go through."""
