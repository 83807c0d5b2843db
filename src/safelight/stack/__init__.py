"""Run and configure Prometheus, Alertmanager, node-exporter and Grafana for the services."""
