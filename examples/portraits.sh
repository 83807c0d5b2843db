#!/usr/bin/env bash
# Edits, makes and recognises a portrait with curl, against:
#   safelight up demo-edit demo-generate demo-recognize
set -euo pipefail
host=${HOST:-http://127.0.0.1}

safelight demo portrait portrait.png

curl --fail-with-body -sS -F image=@portrait.png -F "instruction=make him old" \
    "$host:8000/api/edit" -o edited.png

curl --fail-with-body -sS -H "content-type: application/json" \
    -d '{"prompt": "an old person with a beard, in the city"}' "$host:8001/generate" -o made.png

curl --fail-with-body -sS -F image=@edited.png -F top=4 "$host:8002/predict"
