"""Generate, edit and recognise a portrait with the three demo services over HTTP.

safelight up demo-edit demo-generate demo-recognize
python examples/portraits.py
"""

import os
import sys
from pathlib import Path

import httpx

EDITOR = os.environ.get("EDIT_URL", "http://127.0.0.1:8000")
GENERATOR = os.environ.get("GENERATE_URL", "http://127.0.0.1:8001")
RECOGNISER = os.environ.get("PREDICT_URL", "http://127.0.0.1:8002")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(timeout=60) as client:
        prompt = "a young person with short brown hair, smiling, plain background"
        generated = client.post(f"{GENERATOR}/generate", json={"prompt": prompt, "seed": 1})
        generated.raise_for_status()
        (folder / "made.png").write_bytes(generated.content)

        edited = client.post(
            f"{EDITOR}/api/edit",
            params={"instruction": "add sunglasses"},
            content=generated.content,
            headers={"content-type": "image/png"},
        )
        edited.raise_for_status()
        (folder / "edited.png").write_bytes(edited.content)
        print("times of the edit:", edited.headers["server-timing"])

        recognised = client.post(
            f"{RECOGNISER}/predict",
            params={"top": 4},
            content=edited.content,
            headers={"content-type": "image/png"},
        )
        for label in recognised.raise_for_status().json()["labels"]:
            print(f"{label['score']:.2f}  {label['label']}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
