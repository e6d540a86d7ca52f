"""The server that people write first: FastAPI and transformers, one picture after another.

    python benchmarks/plain_server.py FOLDER PORT

POST /embed with one file or more in `pictures`; answers with their embeddings. What `benchmarks/serve.py` compares
with: the model in PyTorch with all cores, pictures decoded by Pillow and prepared by transformers' own processor in the
thread of the request, one request at a time in the model (PyTorch's threads stand in each other's way otherwise).
"""

from __future__ import annotations

import base64
import io
import sys
from threading import Lock

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from references import declare_operators


def plain_app(folder: str) -> FastAPI:
    declare_operators()
    from transformers import AutoModel, AutoProcessor

    model, processor, lock = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder), Lock()
    app = FastAPI()

    @app.get("/healthz")
    def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/embed")
    def embed(pictures: list[UploadFile]) -> dict[str, list[str]]:
        opened = [Image.open(io.BytesIO(one.file.read())).convert("RGB") for one in pictures]
        inputs = processor(images=opened, return_tensors="pt")
        with lock, torch.no_grad():
            found = model.get_image_features(**inputs)
        vectors = getattr(found, "pooler_output", found)
        vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        return {"embeddings": [base64.b64encode(row.numpy().tobytes()).decode() for row in vectors]}

    return app


if __name__ == "__main__":
    uvicorn.run(plain_app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning", access_log=False)
