"""Generate and edit an image with OpenAI's official client.

safelight up demo-edit demo-generate demo-recognize
python examples/openai_client.py portrait.png
"""

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI

EDITOR = os.environ.get("EDIT_URL", "http://127.0.0.1:8000")
GENERATOR = os.environ.get("GENERATE_URL", "http://127.0.0.1:8001")
KEY = "none"  # a key of `safelight key`, if the service requires one


def main(portrait: Path, folder: Path) -> None:
    generator = OpenAI(base_url=f"{GENERATOR}/v1", api_key=KEY)
    generated = generator.images.generate(
        prompt="an old person with a hat, in the city", size="64x64"
    )
    save(generated, folder / "made.png")

    editor = OpenAI(base_url=f"{EDITOR}/v1", api_key=KEY)
    edited = editor.images.edit(
        image=portrait, prompt="make her smile", extra_body={"steps": 20, "seed": 1}
    )
    save(edited, folder / "edited.png")


def save(response, file: Path) -> None:
    file.write_bytes(base64.b64decode(response.data[0].b64_json))
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "."))
