"""Read an ONNX file without trusting it: every defect becomes one clear error."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo

from footprint_compiler.errors import ModelFileError, ModelLimitError

MAX_FILE_BYTES = (1 << 31) - 1
MAX_NODES = 100_000


def load_model(model: str | Path | onnx.ModelProto) -> tuple[onnx.ModelProto, str, str]:
    """The model with external data read in, its file name, and the sha256 of its bytes.

    Raises:
        ModelFileError: missing, unreadable, empty, truncated, corrupt or not ONNX.
        ModelLimitError: larger than protobuf or fpc allows.
    """
    if isinstance(model, onnx.ModelProto):
        proto, source, digest = onnx.ModelProto(), "model.onnx", hashlib.sha256()
        proto.CopyFrom(model)
        digest.update(model.SerializeToString())
        base = Path()
    else:
        path = Path(model)
        data = _read(path)
        proto, source, digest, base = (
            _parse(data, path.name),
            path.name,
            hashlib.sha256(),
            path.parent,
        )
        digest.update(data)
    _check_graph(proto, source)
    for tensor in _tensors(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if isinstance(model, onnx.ModelProto):
                raise ModelFileError(
                    f"initializer {tensor.name} is external data without a file", "give the path"
                )
            digest.update(_read_external(tensor, base))
    return proto, source, digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder, not an ONNX file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelLimitError(f"{path} is larger than 2 GiB", "store weights as external data")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"{path} does not exist", "check the path") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read {path}: {error}", "check its permissions") from error
    if not data:
        raise ModelFileError(f"{path} is empty", "export the model again")
    return data


def _parse(data: bytes, name: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:
        raise ModelFileError(f"{name} is not an ONNX model, or is truncated or corrupt") from error
    return proto


def _check_graph(proto: onnx.ModelProto, name: str) -> None:
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelFileError(f"{name} has no graph or no opset: it is not an ONNX model")
    if not proto.graph.output:
        raise ModelFileError(f"{name} has no outputs", "export the model again")
    _check_text(proto.graph, name)
    if len(proto.graph.node) > MAX_NODES:
        raise ModelLimitError(f"{name} has {len(proto.graph.node)} nodes, more than {MAX_NODES}")
    for entry in proto.opset_import:
        newest = onnx.defs.onnx_opset_version()
        if entry.domain in ("", "ai.onnx") and not 7 <= entry.version <= newest:
            raise ModelFileError(
                f"{name} uses opset {entry.version}; fpc reads 7 to {newest}",
                "convert it with onnx.version_converter",
            )


def _check_text(graph: onnx.GraphProto, name: str) -> None:
    """Names are text: protobuf gives bytes where they are not UTF-8."""
    queue = [graph]
    while queue:
        current = queue.pop()
        texts = [v.name for v in [*current.input, *current.output, *current.initializer]]
        for node in current.node:
            texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
            texts += [attribute.name for attribute in node.attribute]
            queue += [a.g for a in node.attribute if a.HasField("g")]
        if any(not isinstance(text, str) for text in texts):
            raise ModelFileError(f"{name} has a name that is not text: it is corrupt")


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Initializers and attribute tensors of the graph and its subgraphs."""
    found, queue = [], [graph]
    while queue:
        current = queue.pop()
        found.extend(current.initializer)
        for node in current.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found.append(attribute.t)
                if attribute.HasField("g"):
                    queue.append(attribute.g)
                queue.extend(attribute.graphs)
    return found


def _read_external(tensor: onnx.TensorProto, base: Path) -> bytes:
    """Move a tensor's bytes from its file into the model; its path may not leave ``base``."""
    try:
        info = ExternalDataInfo(tensor)
        root = base.resolve()
        path = (root / info.location).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise ModelFileError(
                f"external data {info.location} of {tensor.name} is not a file beside the model",
                "keep the data file in the folder of the model",
            )
        with path.open("rb") as file:
            file.seek(info.offset or 0)
            data = file.read(info.length) if info.length else file.read()
    except (OSError, ValueError) as error:
        raise ModelFileError(f"external data of {tensor.name}: {error}") from error
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return data
