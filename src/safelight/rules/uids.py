"""The uids of the dashboards. They never change, because links and imports use them."""

LIVE, REQUEST, DENOISING = "safelight-live", "safelight-request", "safelight-denoising"
ENGINE, INSTRUCTIONS = "safelight-engine", "safelight-instructions"
QUALITY, SLO, WEB = "safelight-quality", "safelight-slo", "safelight-web-service"
GPUS, WATCHER = "safelight-cards-and-memory", "safelight-watcher"
