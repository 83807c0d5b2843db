"""Documentation pages that are generated from metrics, alerts, checks and dashboards."""
