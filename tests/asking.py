"""One HTTP client for all tests: creating one reads all CA certificates, which takes 35 ms."""

import httpx

HTTP = httpx.Client(timeout=10, limits=httpx.Limits(max_keepalive_connections=0))
