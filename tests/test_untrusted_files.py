"""Files from outside: read as what they say, or refused; never executed, never unpacked without limit, never a path.

Every hostile file is made here and is harmless: all that its code could do is to create an empty file in a
temporary folder, and all that it claims to hold is zeros.
"""

import io
import json
import os
import pathlib
import pickle
import random
import struct
import tracemalloc
import zipfile
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xai_med import explain, read_weights
from xai_med.errors import FileFormatError
from xai_med.explanation import Explanation
from xai_med.io import zip_directory
from xai_med.registry import get_backend
from xai_med.testing.networks import NETWORKS, example_input

ONES = np.ones((2, 3), np.float32)


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def most_memory_of(function):
    """Most memory that a function held, in bytes, and what it raised."""
    raised = None
    tracemalloc.start()
    try:
        function()
    except FileFormatError as error:
        raised = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, raised


def written(path, content):
    path.write_bytes(content)
    return path


# ---- pickles

CODE = {
    "a shell": lambda marker: Calls(os.system, f"touch {marker}"),
    "eval": lambda marker: Calls(eval, f"open({str(marker)!r}, 'w').close()"),
    "exec": lambda marker: Calls(exec, f"open({str(marker)!r}, 'w').close()"),
    "a method": lambda marker: Calls(pathlib.Path.touch, marker),
    "a getattr": lambda marker: Calls(getattr, Calls(pathlib.Path, str(marker)), "touch"),
    "numpy itself": lambda marker: Calls(np.save, str(marker), np.zeros(1)),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("code", sorted(CODE))
def test_code_in_a_paddle_file_is_refused_and_not_executed(tmp_path, code, protocol):
    marker = tmp_path / "executed"
    content = pickle.dumps({"weight": ONES, "bias": CODE[code](marker)}, protocol=protocol)
    with pytest.raises(FileFormatError, match=r"it names .* nothing was executed"):
        read_weights(written(tmp_path / "w.pdparams", content))
    assert list(tmp_path.iterdir()) == [tmp_path / "w.pdparams"]


def test_the_code_in_these_files_would_be_executed_by_others(tmp_path):
    pickle.loads(pickle.dumps(CODE["eval"](tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_code_in_a_torch_file_is_refused_and_not_executed(tmp_path):
    torch = pytest.importorskip("torch")
    for number, code in enumerate(CODE.values()):
        path = tmp_path / f"{number}.pt"
        torch.save({"weight": torch.ones(2), "bias": code(tmp_path / "executed")}, path)
        with pytest.raises(FileFormatError, match=r"it names .* nothing was executed"):
            read_weights(path)
    assert not (tmp_path / "executed").exists()


def test_a_whole_pickled_module_is_refused_by_its_name(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(
        FileFormatError, match=r"torch\.nn\.modules\.container\.Sequential.*save the state dictionary alone"
    ):
        read_weights(tmp_path / "model.pt")


def test_what_torch_s_own_safe_loader_executes_is_not_executed(tmp_path):
    """It admits `bytearray`, which takes as much memory as the file asks for."""
    torch = pytest.importorskip("torch")
    torch.save({"weight": Calls(bytearray, 50_000_000)}, tmp_path / "w.pt")
    assert len(torch.load(tmp_path / "w.pt", weights_only=True)["weight"]) == 50_000_000
    peak, raised = most_memory_of(lambda: read_weights(tmp_path / "w.pt"))
    assert "builtins.bytearray" in str(raised) or "__builtin__.bytearray" in str(raised)
    assert peak < 1_000_000


ARRAY = pickle.dumps(ONES, protocol=2)  # with its opcodes PROTO and STOP


def in_dictionary(value):
    """A pickle of protocol 2 that holds opcodes under one name."""
    return b"\x80\x02}X\x01\x00\x00\x00a" + value + b"s."


OPCODES = {
    "an old-style instance": (in_dictionary(b"(S'x'\nios\nsystem\n"), "uses STRING"),
    "a new object": (in_dictionary(b"cnumpy\nndarray\n)\x81"), "uses NEWOBJ"),
    "an object from the stack": (in_dictionary(b"(cnumpy\nndarray\no"), "uses OBJ"),
    "a registered extension": (in_dictionary(b"\x82\x01"), "uses EXT1"),
    "a persistent text": (in_dictionary(b"Pw\n"), "uses PERSID"),
    "a set": (in_dictionary(b"\x8f"), "uses EMPTY_SET"),
    "attributes of what is named": (in_dictionary(b"cnumpy\nndarray\n}b"), "sets attributes of a Named"),
    "a call of what is only named": (in_dictionary(b"cnumpy\nndarray\n)R"), "calls what arrays do not need"),
    "a call of an array": (in_dictionary(ARRAY[2:-1] + b")R"), "calls what arrays do not need"),
    "attributes of an array as of an object": (in_dictionary(ARRAY[2:-1] + b"}b"), "is damaged"),
    "a dotted name": (
        b"\x80\x04}\x8c\x01a\x8c\x05numpy\x8c\x0endarray.tofile\x93s.",
        r"names 'numpy\.ndarray\.tofile'",
    ),
    "a name that is no text": (b"\x80\x04}\x8c\x01aK\x01K\x02\x93s.", "names ''"),
    "text of another encoding": (
        in_dictionary(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R"),
        "encodes",
    ),
    "data outside": (in_dictionary(b"X\x01\x00\x00\x00aQ"), "data outside of it"),
    "a name twice": (b"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.", "holds 'a' twice"),
    "a tuple as a name": (b"\x80\x02}(K\x01K\x01\x86K\x01u.", "under a tuple instead of a name"),
    "another pickle behind": (pickle.dumps({"a": ONES}, protocol=4) + b"more", "goes on after its end"),
    "no end": (pickle.dumps({"a": ONES}, protocol=4)[:-20], "is damaged"),
    "an empty stack": (b"\x80\x02R.", "is damaged"),
    "a memo that was not filled": (in_dictionary(b"h\x07"), "is damaged"),
    "no dictionary": (ARRAY, "no state dictionary"),
}


@pytest.mark.parametrize("what", sorted(OPCODES))
def test_what_a_pickle_of_arrays_does_not_hold_is_refused(tmp_path, what):
    content, message = OPCODES[what]
    with pytest.raises(FileFormatError, match=message):
        read_weights(written(tmp_path / "w.pdparams", content))


def test_a_memo_of_any_size_takes_no_memory(tmp_path):
    content = b"\x80\x02}r\xff\xff\xff\x7fX\x01\x00\x00\x00a" + ARRAY[2:-1] + b"s."
    path = written(tmp_path / "w.pdparams", content)
    peak, raised = most_memory_of(lambda: read_weights(path))
    assert raised is None
    assert peak < 1_000_000


def test_a_pickle_with_too_many_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("xai_med.io.pickle_reader.MOST_OPCODES", 1000)
    path = written(tmp_path / "w.pdparams", b"\x80\x02" + 2000 * b"}" + b".")
    with pytest.raises(FileFormatError, match="more than 1000 steps"):
        read_weights(path)


def test_nesting_that_doubles_is_not_unfolded(tmp_path):
    """Forty tuples, each twice in the next: terabytes, if anybody wrote them out."""
    doubling = b"]" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(40))
    path = written(tmp_path / "w.pdparams", in_dictionary(doubling))
    peak, raised = most_memory_of(lambda: read_weights(path))
    assert "are no arrays" in str(raised)
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{"a": 1}], dtype=object), "objects|the kind 'O"),
        (np.zeros(2, dtype=[("x", "f4"), ("y", "f4")]), "names 'numpy|records|the kind 'V"),
        (np.array(["text"]), "kind 'U4'"),
        (np.zeros(2, complex), "kind 'c16'"),
        (np.zeros(2, "datetime64[s]"), "kind 'M8'"),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, array, message):
    for protocol in (2, 4):
        path = written(tmp_path / "w.pdparams", pickle.dumps({"a": array}, protocol=protocol))
        with pytest.raises(FileFormatError, match=message):
            read_weights(path)


def test_a_pickle_that_declares_more_than_it_holds_takes_no_memory(tmp_path):
    declared = pickle.dumps({"a": np.zeros((3, 7), np.float32)}, protocol=2)
    larger = declared.replace(b"K\x03K\x07\x86", b"K\x03\x8a\x06\x00\x00\x00\x00\x00\x01\x86")
    longer = b"\x80\x04}\x8c\x01a\x8e" + struct.pack("<Q", 2**40) + b"xs."
    made = declared.replace(b"K\x00\x85", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", 1)
    for content, message in [(larger, "too large"), (longer, "damaged"), (made, "before its content")]:
        assert content != declared
        peak, raised = most_memory_of(partial(read_weights, written(tmp_path / "w.pdparams", content)))
        assert message in str(raised)
        assert peak < 1_000_000


def test_arrays_that_paddle_cut_in_pieces_are_refused_with_the_remedy(tmp_path):
    content = pickle.dumps({"a@@.0": ONES, "UnpackBigParamInfor@@": {}}, protocol=2)
    with pytest.raises(FileFormatError, match="save it again with protocol=4"):
        read_weights(written(tmp_path / "w.pdparams", content))


# ---- archives of PyTorch


@pytest.fixture
def torch_file(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def rewritten(path, change, *, compression=zipfile.ZIP_STORED):
    """The archive with other entries: `change` takes and gives a dictionary of bytes by name."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in change(entries).items():
            archive.writestr(name, content)
    return path


def test_a_rewritten_archive_is_read_as_before(torch_file):
    before = read_weights(torch_file)
    assert_array_equal(read_weights(rewritten(torch_file, dict))["weight"], before["weight"])


def test_a_compressed_archive_is_refused_before_it_is_unpacked(torch_file):
    zeros = bytes(200_000_000)
    rewritten(torch_file, lambda entries: {**entries, "w/data/0": zeros}, compression=zipfile.ZIP_DEFLATED)
    assert torch_file.stat().st_size < 1_000_000
    peak, raised = most_memory_of(lambda: read_weights(torch_file))
    assert "packed in a way that is not read" in str(raised)
    assert peak < 1_000_000


def with_directory_field(path, name, offset, value):
    """Change a 32-bit field in the central directory of an archive."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, _directory_entry(content, name) + offset, value)
    path.write_bytes(content)


def _directory_entry(content, name):
    at = -1
    while True:
        at = content.index(b"PK\x01\x02", at + 1)
        length = struct.unpack_from("<H", content, at + 28)[0]
        if content[at + 46 : at + 46 + length] == name.encode():
            return at


def test_a_directory_that_declares_more_than_the_file_is_refused(torch_file):
    rewritten(torch_file, dict)
    with_directory_field(torch_file, "w/data/0", 24, 2**31)  # the size when unpacked
    peak, raised = most_memory_of(lambda: read_weights(torch_file))
    assert "bytes declare 2147" in str(raised)
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: {n: c for n, c in entries.items() if n != "w/data/0"}, "lacks the entry 'w/data/0'"),
        (lambda entries: {**entries, "w/data/0": b"1234"}, "holds 4 of them"),
        (lambda entries: {**entries, "w/byteorder": b"big"}, "big-endian"),
        (lambda entries: {**entries, "w/code/__torch__.py": b"", "w/constants.pkl": b""}, "TorchScript program"),
        (lambda entries: {**entries, "v/data.pkl": entries["w/data.pkl"]}, "torch.save did not write"),
        (lambda entries: {"other.txt": b"hello"}, "torch.save did not write"),
        (lambda entries: {**entries, "w/data.pkl": entries["w/data.pkl"][:-9]}, "is damaged"),
    ],
)
def test_archives_that_torch_does_not_write_are_refused(torch_file, change, message):
    with pytest.raises(FileFormatError, match=message):
        read_weights(rewritten(torch_file, change))


def test_entries_of_one_name_are_refused(torch_file):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(torch_file, "a") as archive:
        archive.writestr("w/data/0", bytes(24))
    with pytest.raises(FileFormatError, match="holds 'w/data/0' twice"):
        read_weights(torch_file)


def test_changed_numbers_are_found_by_their_checksum(torch_file):
    content = bytearray(rewritten(torch_file, dict).read_bytes())
    at = content.index(np.arange(6, dtype=np.float32).tobytes())
    content[at] ^= 1
    torch_file.write_bytes(content)
    with pytest.raises(FileFormatError, match="'w/data/0' is damaged"):
        read_weights(torch_file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86", "beyond its 6 numbers"),
        (b"K\x03K\x01\x86", b"K\x00K\x00\x86", None),
        (b"K\x02K\x03\x86", b"K\x7fK\x7f\x86", "beyond its 6 numbers"),
        (b"FloatStorage", b"QUInt8Storage", r"names 'torch\.QUInt8Storage'"),
        (b"_rebuild_tensor_v2", b"_rebuild_qtensor", r"names 'torch\._utils\._rebuild_qtensor'"),
    ],
)
def test_tensors_that_look_beyond_their_numbers_are_refused(torch_file, old, new, message):
    def change(entries):
        assert old in entries["w/data.pkl"]
        return {**entries, "w/data.pkl": entries["w/data.pkl"].replace(old, new)}

    rewritten(torch_file, change)
    if message is None:  # every number the same one: a tensor that shares it, of no more elements than there are
        assert_array_equal(read_weights(torch_file)["weight"], np.zeros((2, 3)))
        return
    with pytest.raises(FileFormatError, match=message):
        read_weights(torch_file)


def test_an_expanded_tensor_is_refused_before_it_is_written_out(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pt")
    peak, raised = most_memory_of(lambda: read_weights(tmp_path / "w.pt"))
    assert "too large" in str(raised)
    torch.save({"weight": torch.zeros(1).expand(1000)}, tmp_path / "w.pt")
    with pytest.raises(FileFormatError, match=r"twice at the same; save \.clone\(\) of an expanded tensor"):
        read_weights(tmp_path / "w.pt")
    assert peak < 1_000_000


def test_the_format_before_zip_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.ones(2)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(
        FileFormatError, match=r"by its ending it is a zip archive as of torch\.save, by its first bytes"
    ):
        read_weights(tmp_path / "w.pt")


# ---- safetensors


def safetensors(header, body=bytes(24), *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(begin=0, end=24, shape=(2, 3), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


SAFETENSORS = {
    "a header longer than the file": (safetensors({"a": entry()}, length=10_000), "its header is to have 10000 bytes"),
    "a header without end": (safetensors({"a": entry()}, length=2**63), "its header is to have"),
    "no JSON": (safetensors(b"{no"), "no JSON"),
    "another type": (safetensors(b"{}"[:1] + b'"a":1}'), "describes 'a' without"),
    "endless nesting": (safetensors(b'{"a":' + b"[" * 200_000), "no JSON"),
    "text that is not UTF-8": (safetensors(b'{"\xff":1}'), "no JSON"),
    "overlapping arrays": (
        safetensors({"a": entry(0, 24), "b": entry(8, 16, (2,))}),
        "'b' lies at 8..16 of 24 bytes, where the array before ends at 24",
    ),
    "the same bytes twice": (safetensors({"a": entry(), "b": entry()}), "must neither overlap nor leave gaps"),
    "a gap": (safetensors({"a": entry(4, 28)}, bytes(28)), "must neither overlap nor leave gaps"),
    "bytes behind": (safetensors({"a": entry()}, bytes(30)), "end at 24 of 30 bytes"),
    "an array beyond the end": (safetensors({"a": entry(0, 2**40, (2**38,))}), "lies at 0..1099511627776 of 24"),
    "an array that ends before it begins": (safetensors({"a": entry(24, 0)}), "lies at 24"),
    "negative offsets": (safetensors({"a": entry(-24, 0)}), "describes 'a' without"),
    "offsets that are no numbers": (safetensors({"a": entry(False, 24)}), "describes 'a' without"),
    "a shape of another size": (safetensors({"a": entry(shape=(2, 4))}), "declares f4 of shape"),
    "a negative shape": (safetensors({"a": entry(shape=(-2, -3))}), "no list of sizes"),
    "a shape beyond all numbers": (safetensors({"a": entry(shape=(2**34,) * 30)}), "too large to be read"),
    "a shape that is no list": (safetensors({"a": {**entry(), "shape": "23"}}), "no list of sizes"),
    "an unknown kind": (safetensors({"a": entry(dtype="F8_E4M3")}), "'a' holds numbers of the kind 'F8_E4M3'"),
    "a kind that is no text": (safetensors({"a": {**entry(), "dtype": ["F32"]}}), "of the kind a list"),
    "more than the format knows": (safetensors({"a": {**entry(), "code": "x"}}), "describes 'a' without"),
    "a name twice": (
        safetensors(b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}"),
        "names 'a' twice",
    ),
    "metadata that are no texts": (safetensors({"__metadata__": {"a": 1}, "a": entry()}), "metadata are not texts"),
    "no arrays": (safetensors({}, b""), "holds no arrays"),
    "the wrong magic": (b"PK\x03\x04" + bytes(30), "by its first bytes a zip archive"),
    "nothing": (b"", "by its first bytes no file of weights"),
}


@pytest.mark.parametrize("what", sorted(SAFETENSORS))
def test_unsound_safetensors_are_refused(tmp_path, what):
    content, message = SAFETENSORS[what]
    path = written(tmp_path / "w.safetensors", content)
    peak, raised = most_memory_of(lambda: read_weights(path))
    assert raised is not None
    assert message in str(raised)
    assert peak < 10_000_000


def test_sound_safetensors_are_read_as_their_own_library_reads_them(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    random_numbers = np.random.default_rng(0)
    kinds = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    arrays = {kind: (50 * random_numbers.uniform(0, 1, (3, 2))).astype(kind) for kind in kinds}
    arrays |= {"none": np.zeros((0, 4)), "number": np.array(3.5)}
    library.save_file(arrays, tmp_path / "w.safetensors", metadata={"format": "np"})
    found, expected = read_weights(tmp_path / "w.safetensors"), library.load_file(tmp_path / "w.safetensors")
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert_array_equal(array, expected[name])
        assert array.dtype == expected[name].dtype


# ---- all of them


def test_random_damage_is_refused_or_read_and_nothing_else(tmp_path, torch_file):
    """Six hundred damaged files: whatever byte is wrong, the message is ours."""
    sound = {
        ".pt": torch_file.read_bytes(),
        ".pdparams": pickle.dumps({"a": ONES, "b": {"c": np.arange(3)}, "d": 1.5}, protocol=2),
        ".safetensors": safetensors({"a": entry()}),
    }
    chance, refused = random.Random(0), 0
    for ending, content in sound.items():
        for _ in range(200):
            damaged = bytearray(content)
            for _ in range(chance.choice((1, 2, 5))):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path = written(tmp_path / f"damaged{ending}", damaged[: chance.choice((None, None, len(damaged) // 2))])
            try:
                read_weights(path)
            except FileFormatError:
                refused += 1
    assert refused > 300


@pytest.mark.parametrize("ending", ["", ".bin", ".npz", ".h5", ".pkl"])
def test_another_ending_is_refused(tmp_path, ending):
    with pytest.raises(FileFormatError, match=r"none of \.safetensors, \.pt, \.pth, \.pdparams"):
        read_weights(written(tmp_path / f"w{ending}", safetensors({"a": entry()})))


def test_no_format_is_tried_after_another(tmp_path):
    sound = {".safetensors": safetensors({"a": entry()}), ".pdparams": pickle.dumps({"a": ONES}, protocol=4)}
    for ending in (".safetensors", ".pdparams"):
        (other,) = sound.keys() - {ending}
        with pytest.raises(FileFormatError, match=r"by its ending it is a .*, by its first bytes a "):
            read_weights(written(tmp_path / f"w{ending}", sound[other]))


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.pt", "/dev/zero"):
        with pytest.raises(FileNotFoundError, match="there is no weights file"):
            read_weights(path)


def test_a_file_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "w.safetensors", safetensors({"a": entry()}))
    monkeypatch.setattr("xai_med.io.weights.MOST_BYTES", 20)
    with pytest.raises(FileFormatError, match="at most 20 bytes"):
        read_weights(path)


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "C:\\outside", "a\x00b", "..", "~/outside"])
def test_names_in_a_file_of_weights_are_names_and_no_paths(tmp_path, name):
    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    contents = {
        "w.safetensors": safetensors({name: entry()}),
        "w.pdparams": pickle.dumps({name: ONES}, protocol=4),
    }
    for file, content in contents.items():
        assert list(read_weights(written(folder / file, content))) == [name]
    assert {path.name for path in tmp_path.rglob("*")} == {"inner", "folder", *contents}


# ---- explanations


@pytest.fixture(scope="module")
def explanation():
    pytest.importorskip("torch")
    blueprint = NETWORKS["vgg_like"]()
    return explain(get_backend("torch").build(blueprint), example_input(blueprint), method="cam", target="all")


def saved_with(explanation, path, *, arrays=None, header=None, compression=zipfile.ZIP_DEFLATED):
    """A saved explanation with other arrays or another header."""
    explanation.save(path)

    def change(entries):
        entries = {**entries, **(arrays or {})}
        if header is not None:
            text = json.loads(np.load(io.BytesIO(entries["header.npy"])).tobytes())
            entries["header.npy"] = npy(np.frombuffer(json.dumps({**text, **header}).encode(), np.uint8))
        return {name: content for name, content in entries.items() if content is not None}

    return rewritten(path, change, compression=compression)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def declared(shape, descr="'<f4'"):
    """An ``.npy`` that declares a shape and holds nothing."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def test_an_explanation_that_unpacks_to_too_much_is_refused(explanation, tmp_path, monkeypatch):
    monkeypatch.setattr(zip_directory, "FREE_BYTES", 1_000_000)
    path = saved_with(explanation, tmp_path / "e.npz", arrays={"extras/zeros.npy": npy(np.zeros((2, 5_000_000)))})
    assert path.stat().st_size < 200_000
    peak, raised = most_memory_of(lambda: Explanation.load(path))
    assert "bytes of content, at most" in str(raised)
    assert peak < 1_000_000


def test_an_entry_that_unpacks_to_more_than_its_directory_says_is_cut_there(explanation, tmp_path):
    path = saved_with(explanation, tmp_path / "e.npz", arrays={"extras/zeros.npy": npy(np.zeros((2, 5_000_000)))})
    with_directory_field(path, "extras/zeros.npy", 24, 1000)
    peak, raised = most_memory_of(lambda: Explanation.load(path))
    assert raised is not None
    assert "damaged" in str(raised)
    assert peak < 5_000_000


EXPLANATIONS = {
    "an array larger than its entry": ({"maps.npy": declared((2**40, 1, 1))}, None, "too large|holds 0 of them"),
    "objects": ({"maps.npy": declared((1,), "'|O'")}, None, "the kind 'O'"),
    "no array": ({"maps.npy": b"hello"}, None, "is no array"),
    "a header that is no literal": ({"maps.npy": declared("(1,", "__import__('os')")}, None, "is no array"),
    "deep brackets": ({"maps.npy": declared("(" * 3000)}, None, "is no array"),
    "no maps": ({"maps.npy": None}, None, "lacks maps"),
    "no header": ({"header.npy": None}, None, "has no header"),
    "a header that is no JSON": ({"header.npy": npy(np.frombuffer(b"[" * 100_000, np.uint8))}, None, "cannot be read"),
    "an unexpected array": ({"other.npy": npy(ONES)}, None, "an unexpected 'other'"),
    "maps of other images": ({"maps.npy": npy(np.zeros((9, 1, 4, 4)))}, None, "not of one number of images"),
    "scores of another kind": ({"class_indices.npy": npy(np.zeros((1, 3)))}, None, "not of one number of images"),
    "a method that is no text": (None, {"method": ["cam"]}, "where a text belongs"),
    "targets that are no texts": (None, {"targets": [[1, 2, 3]]}, "where a text belongs"),
    "targets that are no lists": (None, {"targets": 3}, "of another type"),
    "checks that are no checks": (None, {"checks": [{"name": "x"}]}, "of another type"),
    "checks without numbers": (None, {"checks": [{"name": "x", "value": "1"}]}, "of another type"),
    "versions that are no texts": (None, {"versions": {"torch": 3}}, "where a text belongs"),
    "another format": (None, {"format": "xai_med explanation 9"}, "not of the format"),
}


@pytest.mark.parametrize("what", sorted(EXPLANATIONS))
def test_unsound_explanations_are_refused(explanation, tmp_path, what):
    arrays, header, message = EXPLANATIONS[what]
    path = saved_with(explanation, tmp_path / "e.npz", arrays=arrays, header=header)
    with pytest.raises(FileFormatError, match=f"is not an explanation written by save.*({message})"):
        Explanation.load(path)


def test_names_in_an_explanation_decide_no_path(explanation, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    evil = "../../outside"
    targets = [[f"{evil} $\\frac{{${k}" for k in range(explanation.scores.shape[1])]] * len(explanation)
    path = saved_with(
        explanation,
        folder / "e.npz",
        arrays={f"extras/{evil}.npy": npy(np.zeros((len(explanation), 2)))},
        header={"method": evil, "layer": evil, "backend": evil, "source": evil, "targets": targets},
    )
    loaded = Explanation.load(path)
    assert set(loaded.extras) == {evil}
    loaded.save(folder / "again.npz")
    loaded.save(folder / "picture.png")
    assert Explanation.load(folder / "again.npz").method == evil
    names = {"inner", "folder", "e.npz", "again.npz", "picture.png"}
    assert {path.name for path in tmp_path.rglob("*")} == names


def test_names_of_layers_and_classes_decide_no_path(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pillow = pytest.importorskip("PIL.Image")
    pytest.importorskip("click")
    pytest.importorskip("matplotlib")
    from xai_med.cli import main

    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    evil = str(tmp_path / "outside").replace(".", "_")
    (folder / "evil_models.py").write_text(
        "import torch\n\n\ndef make():\n"
        "    torch.manual_seed(0)\n"
        "    model = torch.nn.Sequential()\n"
        f"    model.add_module({evil!r}, torch.nn.Conv2d(1, 2, 3))\n"
        "    model.add_module('pool', torch.nn.AdaptiveAvgPool2d(1))\n"
        "    model.add_module('flat', torch.nn.Flatten())\n"
        "    model.add_module('head', torch.nn.Linear(2, 2))\n"
        "    return model\n"
    )
    pillow.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save("chest.png")
    arguments = ["explain", "chest.png", "--model", "evil_models:make", "--classes", f"../../outside,{evil}"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--layer", evil, "--method", "grad_cam", "--target", "all"])
    assert not ended.value.code
    made = {path.name for path in tmp_path.rglob("*") if "__pycache__" not in path.name and path.suffix != ".pyc"}
    assert made == {"inner", "folder", "evil_models.py", "chest.png", "chest_grad_cam.png"}
