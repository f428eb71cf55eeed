"""The least that a server of one network can be: an ASGI function, orjson, and the bare ONNX session. No checks.

`python -m tests.bench.bare MODEL COLUMNS` serves the ONNX file MODEL on a free port, which it prints.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def main() -> None:
    """Serve until ended."""
    import onnxruntime
    import orjson
    import uvicorn

    model, names = sys.argv[1], sys.argv[2].split(",")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rows = session.get_inputs()[0].shape[1]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        history = orjson.loads(body)["history"]
        features = np.array([history[name] for name in names], np.float32).T[None, -rows:]
        (forecast,) = session.run(None, {"history": np.ascontiguousarray(features)})
        data = orjson.dumps({"forecast": forecast[0].tolist()})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            port = self.servers[0].sockets[0].getsockname()[1]
            print(f"http://127.0.0.1:{port}", flush=True)

    Server(
        uvicorn.Config(app, port=0, http="httptools", loop="asyncio", ws="none", lifespan="off", log_config=None)
    ).run()


if __name__ == "__main__":
    main()
