"""KServe's model server with a model of the user's: every number doubled, in V1, V2 and V2 over gRPC.

It is told its ports and its model's name as KServe's own servers are: --http_port, --grpc_port, --enable_grpc, --model_name.
With --untold it does not say what its model takes, as KServe's Model doesn't unless it is told to.
"""

import argparse

from kserve import InferOutput, InferResponse, Model, ModelServer, model_server
from kserve.utils.utils import generate_uuid


class Untold(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            return {"predictions": [[2 * number for number in row] for row in payload["instances"]]}
        x = payload.inputs[0]
        y = InferOutput(name="y", shape=x.shape, datatype=x.datatype)
        y.set_data_from_numpy(2 * x.as_numpy(), binary_data=payload.use_binary_outputs)
        return InferResponse(
            response_id=payload.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=[y],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


# A server that tells its tensors can be called in every protocol.
class Doubler(Untold):
    def get_input_types(self):
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]

    def get_output_types(self):
        return [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser], conflict_handler="resolve")
    parser.add_argument("--untold", action="store_true")
    args, _ = parser.parse_known_args()
    model = Untold if args.untold else Doubler
    ModelServer(workers=1).start([model(args.model_name)])
