"""The same network behind LitServe, as its documentation shows: requests are batched, nothing is checked.

`python litserved.py MODEL COLUMNS PORT`, by a Python that has litserve, onnxruntime and orjson, and needs no FLTS.
"""

from __future__ import annotations

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np
import onnxruntime

MODEL, NAMES, PORT = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])


class Network(litserve.LitAPI):  # type: ignore[misc]
    """The bare session; a batch is what came within two milliseconds."""

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.rows = self.session.get_inputs()[0].shape[1]

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        history = request["history"]
        return np.array([history[name] for name in NAMES], np.float32).T[-self.rows :]

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, features: Any) -> Any:
        return self.session.run(None, {"history": features})[0]

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"forecast": output.tolist()}


if __name__ == "__main__":
    api = Network(max_batch_size=16, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=PORT, num_api_servers=1, generate_client_file=False, log_level="error"
    )
