"""The client that tests ask with, made once: each would read the world's certificates, 35 ms."""

import httpx

HTTP = httpx.Client(timeout=10, limits=httpx.Limits(max_keepalive_connections=0))
