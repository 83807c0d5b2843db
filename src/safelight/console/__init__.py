"""The console: the dashboards and the state of each service, in the browser, without Grafana.

app         routes, security headers, static files
pages       the table of pages; to add a page, add a row
panels      what a dashboard shows, as data for the browser
choices     what a viewer chose: a service, a time range; checked
answers     queries of Prometheus, shared by all viewers
overview    the page Now: numbers, alerts and the first finding of each service
requests    the page Requests: records with filters, and one record in full
archive     the records, opened when somebody asks
report      the page Health report: findings with their evidence as curves
broadcast   one reader of the overview, many viewers
"""
