"""Which scopes of an API key each route accepts. A table only."""

from safelight.settings import PAGES

INFER, RATE, VIEW, OPERATE = "infer", "rate", "view", "operate"
_REQUEST = "/v1/requests/{request_id}"
_DESCRIBED = (VIEW, INFER)  # who sends requests may read how

# A route that is missing here accepts no key. A key needs one of the scopes.
ACCEPTED: dict[str, tuple[str, ...]] = {
    "POST /api/edit": (INFER,),
    "POST /api/edit/check": (INFER,),
    "POST /generate": (INFER,),
    "POST /predict": (INFER,),
    "POST /v1/images/edits": (INFER,),
    "POST /v1/images/generations": (INFER,),
    f"GET {_REQUEST}/events": (INFER,),
    f"DELETE {_REQUEST}": (INFER,),
    f"POST {_REQUEST}/rating": (RATE,),
    f"DELETE {_REQUEST}/record": (RATE,),
    **dict.fromkeys((f"GET {PAGES[name]}" for name in ("docs", "openapi", "models")), _DESCRIBED),
    f"GET {PAGES['metrics']}": (OPERATE,),
    "GET /v1/model/canary": (OPERATE, VIEW),
    "POST /v1/model/canary": (OPERATE,),
    "POST /v1/model/canary/enrol": (OPERATE,),
    "GET /v1/degradation": (OPERATE, VIEW),
    "POST /v1/degradation/pin": (OPERATE,),
    "POST /v1/degradation/release": (OPERATE,),
    "GET /v1/drain": (OPERATE, VIEW),
    "POST /v1/drain": (OPERATE,),
    "POST /v1/drain/end": (OPERATE,),
    "POST /v1/model/sleep": (OPERATE,),
    "POST /v1/model/wake": (OPERATE,),
    "GET /v1/shadow": (OPERATE, VIEW),
    "GET /v1/rollout": (OPERATE, VIEW),
    "POST /v1/rollout/{action}": (OPERATE,),
}

# These need no key. The name of a stored image is a secret of its own.
OPEN = (
    "GET /",
    "GET /healthz",
    "GET /readyz",
    "GET /swagger/favicon-32x32.png",
    "GET /swagger/swagger-ui-bundle.js",
    "GET /swagger/swagger-ui.css",
    "GET /v1/images/{name}",
)


def accepted(route: str) -> tuple[str, ...]:
    """Return the scopes that a route, such as `POST /predict`, accepts."""
    return ACCEPTED.get(route, ())
