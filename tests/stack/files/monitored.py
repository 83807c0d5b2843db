"""A monitoring file with receivers of every kind."""

EVERY_KIND = """
relay_url = "http://127.0.0.1:9999"
language = "zh"

[receivers.slack]
kind = "slack"
url_file = "/home/someone/slack"

[receivers.mail]
kind = "email"
to = ["oncall@example.org"]
sender = "safelight@example.org"
smarthost = "smtp.example.org:587"
username = "safelight"
password_file = "~/mail-password"

[receivers.ding]
kind = "dingtalk"
url_file = "ding"
secret_file = "ding-secret"

[receivers.wecom]
kind = "wecom"
url_file = "wecom"

[receivers.hook]
kind = "webhook"
url_file = "hook"

[receivers.open]
kind = "webhook"
url = "http://hooks.example.org/open"

[routes]
critical = ["slack", "ding", "mail"]
warning = ["wecom", "hook", "open"]

[[remote_write]]
url = "https://mimir.example.org/api/v1/push"
username = "safelight"
password_file = "mimir"

[[remote_write]]
url = "https://thanos.example.org/api/v1/receive"
token_file = "thanos"

[thresholds]
request_p95_seconds = 7.5
"""
