import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from ccb_lib.io.tensors import digest, load_tensors, read_header, save_tensors


def test_round_trip(tmp_path):
    tensors = {
        "a": torch.randn(3, 2),
        "b": torch.arange(4).to(torch.uint8),
        "view": torch.arange(6).view(2, 3).T,
    }
    save_tensors(tmp_path / "deep" / "x.safetensors", tensors, {"α": [1, None, "<b>"]})
    loaded, header = load_tensors(tmp_path / "deep" / "x.safetensors")
    assert header == {"α": [1, None, "<b>"]}
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("kept", [0, 4, 60, -5])
def test_truncated_files_are_refused(tmp_path, kept):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.randn(100)}, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_tensors(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=r"not one of ccb_lib.*'format'"):
        load_tensors(path)
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_tensors(path)
    with pytest.raises(FileNotFoundError, match=r"No file at .*missing"):
        load_tensors(tmp_path / "missing")


def test_digest_tells_content_shape_and_type_apart():
    a = torch.arange(6)
    others = [a + 1, a.view(2, 3), a.float(), a[:5]]
    assert len({digest(t) for t in [a, *others]}) == 5
    assert digest(a) == digest(a.clone())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1' + "0" * 5000 + "}", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "is list, not a JSON object"),
    ],
)
def test_headers_that_are_no_json_object_are_named(tmp_path, text, said):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata={"ccb_lib": text})
    with pytest.raises(ValueError, match=rf"The header of .*x\.safetensors .*{said}"):
        load_tensors(path)
    assert read_header(path) == {}
