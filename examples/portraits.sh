#!/usr/bin/env bash
# Edits, generates and recognises a portrait with curl. Start the services first:
#   safelight up demo-edit demo-generate demo-recognize
set -euo pipefail
editor=${EDIT_URL:-http://127.0.0.1:8000}
generator=${GENERATE_URL:-http://127.0.0.1:8001}
recogniser=${PREDICT_URL:-http://127.0.0.1:8002}

safelight demo portrait portrait.png

curl --fail-with-body -sS -F image=@portrait.png -F "instruction=make him old" \
    "$editor/api/edit" -o edited.png

curl --fail-with-body -sS -H "content-type: application/json" \
    -d '{"prompt": "an old person with a beard, in the city"}' "$generator/generate" -o made.png

curl --fail-with-body -sS -F image=@edited.png -F top=4 "$recogniser/predict"
