"""The verifier that stands alone: it accepts what is sound, and says what is wrong with what is not."""

import ast
import base64
import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.cli.exports import (
    ORIGIN,
    START,
    Entry,
    House,
    Signer,
    a_life,
    an_entry,
    canonical,
    checkpoint,
    line_of,
    note,
    path_of,
    root_of,
    root_over,
    sealed,
    tiles_over,
    zipped,
)
from tests.core.ledger.ledgers import make_ledger

from tocsin.core.ledger.encoding import unpack
from tocsin.runtime.export import verify_ledger

PROGRAM = Path(verify_ledger.__file__)
FIRST = Signer("first")
INCIDENT = "5d41402abc4b2a76b9719d91"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What a real pump wrote, entry by entry."""
    ledger = make_ledger(tmp_path_factory.mktemp("ledger"), seed=3, turns=900, is_whole=True)
    return [entry for segment in ledger.segments for entry in unpack(segment.data)]


@pytest.fixture
def judge(tmp_path, capsys):
    """Verify an export, and give the exit code, the answer and what was said on stderr."""

    def judge(export, *arguments, key=FIRST.vkey):
        path = tmp_path / "export.zip"
        path.write_bytes(export.zip() if isinstance(export, House) else export)
        pinned = ["--key", key] if key else []
        code = verify_ledger.main([str(path), "--json", *pinned, *map(str, arguments)])
        said = capsys.readouterr()
        return code, json.loads(said.out), said.err

    return judge


def of_headers(*headers):
    """A ledger of entries with these headers."""
    return House([sealed({"at": START, "seq": 0, **header}, *DULL) for header in headers], [FIRST], [FIRST])


DULL = canonical({"events": []}), canonical({"nonce": "0" * 32})


def a_header(seq=0, **changes):
    return {"at": START + seq, "seq": seq, **changes}


def linked(seq, n, prev, incident="00000001", **changes):
    return a_header(seq, incident=INCIDENT + incident, incident_n=n, incident_prev=prev, **changes)


# It stands alone


def test_it_imports_nothing_but_the_standard_library():
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else ["." * node.level + (node.module or "")]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert len(imported) > 5
    assert imported <= sys.stdlib_module_names
    assert not {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval")
    }


def test_it_runs_by_itself_where_nothing_is_installed(tmp_path, parts):
    house = a_life(parts, 40)
    (tmp_path / "export.zip").write_bytes(house.zip())
    (tmp_path / "verify_ledger.py").write_bytes(PROGRAM.read_bytes())
    command = [sys.executable, "-I", "-S", "verify_ledger.py", "export.zip", "--key", FIRST.vkey]

    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "The export is sound" in ran.stdout
    assert f"40:{root_over(house.entries).hex()[:8]}" in ran.stdout


def test_it_says_how_it_is_used(capsys):
    with pytest.raises(SystemExit) as done:
        verify_ledger.main(["--help"])

    assert done.value.code == 0
    assert "--checkpoint" in capsys.readouterr().out


# Signatures

# RFC 8032, 7.1: secret key, public key, message, signature (TEST 1, 2, 3 and SHA(abc)).
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_signatures_of_the_rfc_are_right(public, message, signature):
    public, message, signature = map(bytes.fromhex, (public, message, signature))

    assert verify_ledger.is_signed(public, message, signature)
    assert not verify_ledger.is_signed(public, message + b"\0", signature)


def test_it_agrees_with_another_implementation_on_random_keys_and_messages():
    chance = random.Random(1)
    for _ in range(12):
        key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), chance.randbytes(chance.randrange(200))
        signature = key.sign(message)

        assert verify_ledger.is_signed(public, message, signature)
        flipped = bytearray(signature)
        flipped[chance.randrange(64)] ^= 1 << chance.randrange(8)
        assert not verify_ledger.is_signed(public, message, bytes(flipped))
        assert not verify_ledger.is_signed(chance.randbytes(32), message, signature)


def test_a_signature_has_one_form_only():
    public, message, signature = (bytes.fromhex(part) for part in VECTORS[1])
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little")

    for other in (s + order, s + 2 * order, s + (1 << 255)):
        assert not verify_ledger.is_signed(
            public, message, signature[:32] + other.to_bytes(33, "little")[:32]
        )
    assert not verify_ledger.is_signed(public, message, signature + b"\0")
    assert not verify_ledger.is_signed(public, message, signature[:63])
    assert not verify_ledger.is_signed(public, message, b"")


@pytest.mark.parametrize(
    "public",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",  # the neutral point, order 1
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "0000000000000000000000000000000000000000000000000000000000000080",  # order 4, the other one
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8, another one
        "0100000000000000000000000000000000000000000000000000000000000080",  # x = 0 with a sign
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = p
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = p + 1
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0200000000000000000000000000000000000000000000000000000000000000",  # no point has this y
        "00",
    ],
)
def test_a_bad_point_is_no_key(public):
    public = bytes.fromhex(public)
    for r in (public, (1).to_bytes(32, "little")):
        for s in (0, 1):
            for message in (b"", b"a", b"b", b"c"):
                assert not verify_ledger.is_signed(
                    public, message, r[:32].ljust(32) + s.to_bytes(32, "little")
                )


@pytest.mark.parametrize(
    "change",
    [
        lambda vkey: vkey[:-4],
        lambda vkey: vkey + "=",
        lambda vkey: "x" + vkey,
        lambda vkey: vkey.replace("+", "-", 1),
        lambda vkey: vkey.partition("+")[2],
        lambda vkey: vkey.upper(),
        lambda vkey: f"a b+{vkey.partition('+')[2]}",
        lambda vkey: "",
        lambda vkey: "++",
        lambda vkey: vkey[:-2] + chr(ord(vkey[-2]) + 1) + vkey[-1],
    ],
)
def test_what_is_no_key_is_wrong_use(change, capsys):
    try:
        code = verify_ledger.main(["export.zip", "--key", change(FIRST.vkey)])
    except SystemExit as done:
        code = done.code

    assert code in (2, 3)  # It might have been meant as a file, which is not there.
    assert capsys.readouterr().err


def test_a_note_of_another_program_is_read():
    """The example in the documentation of Go's golang.org/x/mod/sumdb/note, whose format this is."""
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    key = verify_ledger.read_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    signature = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    signed = verify_ledger.Checkpoint(
        "it", "", 0, b"", text.encode(), [("PeterNeumann", signature[:4], signature[4:])]
    )

    assert verify_ledger.find_signers(signed, [key]) == [key]


# The tree


def test_a_tree_has_the_root_that_the_rfc_defines_at_any_size():
    leaves = [hashlib.sha256(b"%d" % seq).digest() for seq in range(1100)]
    for size in (*range(20), 255, 256, 257, 511, 512, 513, 700, 1100):
        tree = verify_ledger.Tree()
        for start in range(0, size - size % 256, 256):
            list(tree.add(leaves[start : start + 256]))

        assert tree.root(leaves[size - size % 256 : size]) == root_of(leaves[:size])


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (999, 1, "tile/0/999.p/1"),
        (1000, 256, "tile/0/x001/000"),
        (1_234_067, 256, "tile/0/x001/x234/067"),  # the example of c2sp.org/tlog-tiles
        (1_234_067, 255, "tile/0/x001/x234/067.p/255"),
        (1_000_000_000, 256, "tile/0/x001/x000/x000/000"),
    ],
)
def test_a_tile_has_the_name_that_the_specification_gives_it(index, width, path):
    assert verify_ledger.tile_name("0", index, width) == path


def test_the_files_of_tiles_are_named_for_any_size():
    for size in (0, 1, 255, 256, 257, 600):
        entries = [Entry(b"%d" % seq, b"", b"") for seq in range(size)]
        assert {name for name, _ in verify_ledger.tile_names(size)} == {*tiles_over(entries)}
    assert len([*verify_ledger.tile_names(1_000_000)]) == 3907 * 2 + 16 + 1


# What is sound


def test_the_ledger_of_a_real_pump_is_sound(judge, parts):
    for size in (40, 255, 256, 257, 700, 2000):
        house = a_life(parts, size)
        code, answer, said = judge(house)

        assert (code, answer["what"], said) == (0, "", "")
        assert answer["sound"] is True
        assert answer["bad_seq"] is None
        assert answer["size"] == size
        assert answer["root"] == root_over(house.entries).hex()
        assert answer["short"] == f"{size}:{answer['root'][:8]}"
        assert answer["origin"] == f"{ORIGIN}/2"
        assert answer["pinned"] is True
        assert answer["erased"] == 5
        assert answer["signers"] == [house.keys[2].vkey.rpartition("+")[0]]
        assert "forked" in answer["notes"][0]


def test_a_ledger_without_entries_is_sound(judge):
    code, answer, _ = judge(House([], [FIRST], [FIRST]))

    assert (code, answer["size"], answer["root"]) == (0, 0, hashlib.sha256(b"").hexdigest())


def test_what_a_sound_entry_may_say(judge):
    house = of_headers(
        linked(0, 0, None, v=1),
        linked(1, 1, 0, cause=0, actor='token:"żółw"\\\n\x1f', kind="größe"),
        a_header(2, policy=1),
        linked(3, 0, None, "00000002", cause=1, policy=2),
        linked(4, 2, 1, policy=2, at=START + 3),
    )

    code, answer, _ = judge(house)

    assert (code, answer["what"]) == (0, "")


@pytest.mark.parametrize(
    "decision",
    [
        {"events": []},
        {"events": [], "late_by": 5},
        {"events": [{"because": "a:5, b", "type": "noted", "x": [1, {"y": None}], "z": True}]},
        {"events": [{"because": '"', "type": "x:"}] * 3},
        {"events": [{"because": "\u2028\x7f\U0001f525\ue000", "list": ["a:", "b"], "type": "x"}]},
    ],
)
def test_a_decision_may_hold_any_event(judge, decision):
    house = House([sealed(a_header(seq), canonical(decision), DULL[1]) for seq in range(3)], [FIRST], [FIRST])

    code, answer, _ = judge(house)

    assert (code, answer["what"]) == (0, "")


def test_a_header_may_be_as_long_as_a_bundle_allows(judge):
    long = of_headers(a_header(actor="x" * (65_535 - len(sealed(a_header(actor=""), *DULL).header))))
    longer = of_headers(a_header(actor="x" * 65_500))

    assert len(long.entries[0].header) == 65_535
    assert judge(long)[0] == 0
    with pytest.raises(OverflowError):
        longer.zip()
    files = long.files()
    files["entries.jsonl"] = line_of(longer.entries[0])
    assert judge(zipped(files))[:2][1]["what"].endswith("its header is too long")


def test_a_big_ledger_has_tiles_of_three_levels(judge):
    entries = [sealed(a_header(seq), *DULL) for seq in range(65_536 + 300)]
    house = House(entries, [FIRST], [FIRST])
    assert {path_of("2", 0, 1), path_of("1", 1, 1), path_of("0", 257, 44)} <= {*house.files()}

    code, answer, _ = judge(house)

    assert (code, answer["root"]) == (0, root_over(entries).hex())


# An entry that is wrong, with every hash in order


@pytest.mark.parametrize(
    ("headers", "bad_seq", "said"),
    [
        ([a_header(v=3)], 0, "version 3, this program knows 1 and 2"),
        ([a_header(), a_header(1, v=0)], 1, "version 0"),
        ([a_header(1)], 0, "says that it is entry 1"),
        ([a_header(), a_header(2)], 1, "says that it is entry 2"),
        ([a_header(), a_header(0)], 1, "says that it is entry 0"),
        ([a_header(seq=-1)], 0, "its header is none"),
        ([a_header(at=-1)], 0, "its header is none"),
        ([a_header(at=1 << 53)], 0, "out of range"),
        ([a_header(at=1 << 70)], 0, "its header is none"),
        ([a_header(policy=-1)], 0, "its header is none"),
        ([a_header(policy=1 << 53)], 0, "out of range"),
        ([a_header(at=5), a_header(1, at=4)], 1, "older than the entry before it"),
        ([a_header(policy=2), a_header(1, policy=1)], 1, "policy 1, but the entry before it has 2"),
        ([a_header(kind="")], 0, "its header is none"),
        ([a_header(actor="")], 0, "its header is none"),
        ([a_header(cause=0)], 0, "cause 0 is not before it"),
        ([a_header(), a_header(1, cause=2)], 1, "cause 2 is not before it"),
        ([a_header(), a_header(1, cause=-1)], 1, "its header is none"),
        ([a_header(incident_n=0)], 0, "its header is none"),
        ([a_header(incident_prev=0)], 0, "its header is none"),
        ([linked(0, 0, -1)], 0, "its header is none"),
        ([linked(0, None, None)], 0, "its header is none"),
        ([linked(0, 1, None)], 0, "links"),
        ([linked(0, 1, 0)], 0, "links"),
        ([linked(0, 0, 0)], 0, "links"),
        ([a_header(), linked(1, 0, 0)], 1, "links"),
        ([linked(0, -1, None)], 0, "its header is none"),
        ([linked(0, 0, None), linked(1, 0, None)], 1, "links"),
        ([linked(0, 0, None), linked(1, 1, None)], 1, "links"),
        ([linked(0, 0, None), linked(1, 2, 0)], 1, "links"),
        ([a_header(), linked(1, 0, None), linked(2, 1 + (1 << 40), 0)], 2, "links"),
        ([linked(0, 0, None), a_header(1), linked(2, 1, 1)], 2, "links"),
        ([linked(0, 0, None), linked(1, 1, 0, "00000002")], 1, "links"),
        ([linked(0, 0, None, "0000000G")], 0, "its header is none"),
        ([linked(0, 0, None, "000000001")], 0, "its header is none"),
        ([linked(0, 0, None, "0000000\u0661")], 0, "its header is none"),
        ([linked(0, 0, None, "0000000A")], 0, "its header is none"),
        ([a_header() | {"seq": "0"}], 0, "its header is none"),
        ([a_header(at=1.0)], 0, "its header is none"),
        ([a_header(at=True)], 0, "its header is none"),
        ([a_header(at=None)], 0, "its header is none"),
        ([a_header(kind=None)], 0, "its header is none"),
        ([a_header(decision_hash="0" * 64)], 0, "decision was changed"),
        ([a_header(decision_hash="")], 0, "its header is none"),
        ([a_header(private_hash="0" * 64)], 0, "private part was changed"),
        ([a_header(extra=1)], 0, "its header is none"),
        ([a_header(aaa=1)], 0, "its header is none"),
    ],
)
def test_an_entry_that_says_what_it_cannot_be_is_found(judge, headers, bad_seq, said):
    code, answer, _ = judge(of_headers(*headers))

    assert (code, answer["bad_seq"]) == (7, bad_seq)
    assert said in answer["what"]


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header + b" ",
        lambda header: b" " + header,
        lambda header: header + b"\0",
        lambda header: header + header,
        lambda header: header[:-1],
        lambda header: b"",
        lambda header: header.replace(b'"v":2', b'"v":2,"v":2'),
        lambda header: header.replace(b'"seq":0,"v":2', b'"v":2,"seq":0'),
        lambda header: header.replace(b"system", b"\\u0073ystem"),
        lambda header: header.replace(b"system", b"\\/"),
        lambda header: header.replace(b"system", b"\\ud800"),
        lambda header: header.replace(b"system", b"\\u0008"),
        lambda header: header.replace(b"system", b"\\u001F"),
        lambda header: header.replace(b"system", b"\t"),
        lambda header: header.replace(b"system", b"\xff"),
        lambda header: header.replace(b"system", b"\xed\xa0\x80"),
        lambda header: header.replace(b'"v":2', b'"v":2.0'),
        lambda header: header.replace(b'"seq":0', b'"seq":00'),
        lambda header: header.replace(b'"cause":null', b'"cause":-0'),
    ],
)
def test_a_header_in_any_other_form_is_found(judge, change):
    sound = sealed(a_header(), *DULL)

    code, answer, _ = judge(House([sound._replace(header=change(sound.header))], [FIRST], [FIRST]))

    assert (code, answer["bad_seq"]) == (7, 0)


WRONG_OBJECTS = [
    b"{}x",
    b'{"a":1.0}',
    b'{"a":1e3}',
    b'{"a":-0}',
    b'{"a":01}',
    b'{"a":NaN}',
    b'{"a":-Infinity}',
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":"\\u0041"}',
    b'{"a":"\\/"}',
    b'{"a":"\\ud800"}',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\t"}',
    b'{"a":"\0"}',
    b'{"a":1,"a":1}',
    b'{"a":1,"a":2}',
    b'{"b":1,"a":2}',
    b'{"a":{"b":1,"a":2}}',
    b'{"a": 1}',
    b'{"a":1 }',
    b'{"a":1}\n',
    b'{ "a":1}',
    b'{"a":[1, 2]}',
    b'{"a" :1}',
    b'{"a":\0}',
    b'{"a":1,}',
    b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}",
    b'["a:"x"b"]',
]


@pytest.mark.parametrize("wrong", WRONG_OBJECTS)
def test_a_private_part_in_any_other_form_is_found_although_its_hash_is_right(judge, wrong):
    before = [canonical(value) for value in ({"a": 1}, {"a": "x"}, {"a": [1, 2]}, {"a": {"a": 2, "b": 1}})]
    entries = [sealed(a_header(seq), DULL[0], private) for seq, private in enumerate([*before, wrong])]

    code, answer, _ = judge(House(entries, [FIRST], [FIRST]))

    assert (code, answer["bad_seq"]) == (7, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        *(b'{"events":[' + one + b"]}" for one in WRONG_OBJECTS),
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"events":{}}',
        b'{"events":[1]}',
        b'{"events":[{"because":"x"}]}',
        b'{"events":[{"type":"x"}]}',
        b'{"events":[{"because":"x","type":5}]}',
        b'{"events":[{"because":5,"type":"x"}]}',
        b'{"events":[{"because":"x","type":null}]}',
        b'{"events":[{"type":"x","because":"x"}]}',
        b'{"events":[{"because":"x","type":"x","type":"x"}]}',
        b'{"events":[{"because":"x","n":1,"n":1,"type":"x"}]}',
        b'{"events":[{"because":"x","type":"x"} ]}',
        b'{"events":[],"late_by":0}',
        b'{"events":[],"late_by":-1}',
        b'{"events":[],"late_by":"x"}',
        b'{"events":[],"late_by":true}',
        b'{"events":[],"unheard_of":1}',
        b'{"events":[],"events":[]}',
    ],
)
def test_a_decision_in_any_other_form_is_found_although_its_hash_is_right(judge, wrong):
    before = [
        b'{"events":[{"because":"x","type":"x"}]}',
        b'{"events":[{"because":"x","n":1,"type":"x"}]}',
        b'{"events":[],"late_by":5}',
        b'{"events":[]}',
    ]
    entries = [sealed(a_header(seq), decision, DULL[1]) for seq, decision in enumerate([*before, wrong])]

    code, answer, _ = judge(House(entries, [FIRST], [FIRST]))

    assert (code, answer["bad_seq"]) == (7, 4)


def test_texts_of_one_shape_are_judged_as_if_each_was_read():
    """The short cut says of every text what reading it says."""
    chance = random.Random(5)
    pieces = [
        b'{"',
        b'":',
        b'"',
        b":",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b"1",
        b"0",
        b"-",
        b'"a":5',
        b'"b":"x:7,"',
        b'\\"',
        b"\0",
        b" ",
    ]
    known = verify_ledger.Shapes(verify_ledger.read_object)
    tried = [canonical({"a": "x:5", "b": ["c:", "d"], "e": {"f": 1}}), canonical({"x": [{"y": ":1"}, ":2,"]})]
    both = {True: 0, False: 0}
    for _ in range(30_000):
        text = bytearray(chance.choice(tried))
        for _ in range(chance.randrange(3)):
            start = chance.randrange(len(text))
            text[start : start + chance.randrange(4)] = chance.choice(pieces)
        said = []
        for check in (known.check, verify_ledger.read_object):
            try:
                check(bytes(text))
                said.append(True)
            except (ValueError, RecursionError):
                said.append(False)
        assert said[0] == said[1], bytes(text)
        both[said[0]] += 1
        if said[0]:
            tried.append(bytes(text))
    assert min(both.values()) > 1000, both


# Erasure


def erasing(*runs, seq=5, gone=(1, 2)):
    """Six entries, of which the last erased some."""
    entries = [sealed(a_header(n), *DULL) for n in range(seq)]
    entries.append(an_entry(seq, {"type": "private_erased", "basis": "entry", "entries": list(runs)}))
    entries += [sealed(a_header(n), *DULL) for n in range(seq + 1, 8)]
    return House(
        [one._replace(private=None) if n in gone else one for n, one in enumerate(entries)], [FIRST], [FIRST]
    )


@pytest.mark.parametrize("runs", [[[1, 2]], [[1, 1], [2, 2]], [[0, 0], [1, 4]], [[0, 4]]])
def test_what_a_later_entry_says_was_erased_may_be_gone(judge, runs):
    code, answer, _ = judge(erasing(*runs))

    assert (code, answer["erased"]) == (0, 2)


def test_two_entries_may_say_together_what_was_erased(judge):
    entries = [sealed(a_header(n), *DULL)._replace(private=None) for n in range(6)]
    for seq, runs in ((6, [[0, 0], [3, 4]]), (7, [[1, 3]]), (8, [[5, 5]])):
        entries.append(an_entry(seq, {"type": "private_erased", "basis": "subject", "entries": runs}))

    assert judge(House(entries, [FIRST], [FIRST]))[1]["erased"] == 6
    assert judge(House(entries[:8], [FIRST], [FIRST]))[1]["bad_seq"] == 5
    assert judge(House(entries[:7], [FIRST], [FIRST]))[1]["bad_seq"] == 1


@pytest.mark.parametrize(
    ("runs", "gone", "bad_seq"),
    [([[1, 1]], (1, 2), 2), ([[2, 2]], (1, 2), 1), ([[1, 2]], (1, 2, 5), 5), ([[1, 2]], (1, 6), 6)],
)
def test_a_private_part_that_is_gone_without_a_word_is_found(judge, runs, gone, bad_seq):
    code, answer, _ = judge(erasing(*runs, gone=gone))

    assert (code, answer["bad_seq"]) == (7, bad_seq)
    assert "gone" in answer["what"]


@pytest.mark.parametrize(
    "runs",
    [
        [[1, 5]],
        [[1, 6]],
        [[2, 1]],
        [[-1, 2]],
        [[1, 2], [2, 3]],
        [[3, 3], [1, 2]],
        [[1]],
        [[1, 2, 3]],
        [1],
        [["1", "2"]],
        [[True, 2]],
    ],
)
def test_an_erasure_names_entries_before_it_in_order(judge, runs):
    code, answer, _ = judge(erasing(*runs))

    assert (code, answer["bad_seq"]) == (7, 5)


# Keys


def rotating(*events, keys, signers, transitions=None, size=12):
    """A ledger of `size` entries; events: (seq, what happened to a key)."""
    told = {}
    for seq, name, signer in events:
        told.setdefault(seq, []).append({"type": f"key_{name}", "vkey": signer.vkey})
    return House([an_entry(seq, *told.get(seq, ())) for seq in range(size)], keys, signers, transitions or {})


A, B, C = (Signer(name) for name in "abc")


def test_trust_goes_from_key_to_key(judge):
    house = rotating(
        (0, "adopted", A),
        (3, "adopted", B),
        (5, "retired", A),
        (8, "adopted", C),
        keys=[A, B, C],
        signers=[C],
        transitions={4: [A], 9: [B, C]},
    )

    for key in (A, B, C):
        code, answer, _ = judge(house, key=key.vkey)
        assert (code, answer["what"]) == (0, "")
    assert judge(house, key=None)[0] == 0
    assert judge(house, key=FIRST.vkey)[0] == 7


def test_a_key_that_is_older_than_the_first_entry_about_keys_is_trusted_if_it_was_given(judge):
    house = rotating((3, "adopted", B), keys=[A, B], signers=[B], transitions={4: [A]})

    assert judge(house, key=A.vkey)[0] == 0
    assert judge(house, key=None)[0] == 0
    assert judge(house, key=B.vkey)[1]["what"] == "keys.txt does not hold the keys that the ledger adopted"


@pytest.mark.parametrize(
    ("given", "bad_seq"),
    [
        ({"transitions": {}}, 0),
        ({"transitions": {4: [B]}}, 0),
        ({"transitions": {3: [A]}}, 3),
        ({"transitions": {4: [C]}}, None),
        ({"transitions": {4: [A], 9: [A]}, "signers": [A]}, 9),
        ({"signers": [A]}, 4),
        ({"signers": [C]}, 4),
        ({"signers": []}, None),
        ({"keys": [A]}, None),
        ({"keys": [B, A]}, None),
        ({"keys": [A, B, C]}, None),
        ({"keys": [C, A, B]}, None),
        ({"keys": [B]}, None),
        ({"keys": []}, None),
    ],
)
def test_a_key_to_which_nothing_leads_is_not_trusted(judge, given, bad_seq):
    whole = {"keys": [A, B], "signers": [B], "transitions": {4: [A]}}
    events = [(0, "adopted", A), (3, "adopted", B), (5, "retired", A)]
    assert judge(rotating(*events, **whole), key=A.vkey)[0] == 0

    code, answer, _ = judge(rotating(*events, **(whole | given)), key=A.vkey)

    assert code == 7
    if bad_seq is not None:
        assert answer["bad_seq"] == bad_seq


def test_a_checkpoint_may_lead_to_the_key_that_signed_it_too(judge):
    house = rotating((0, "adopted", A), (3, "adopted", B), keys=[A, B], signers=[A, B])

    assert judge(house, key=A.vkey)[0] == 0


def test_a_key_that_was_retired_signs_no_more_although_nothing_was_signed_since(judge):
    events = [(0, "adopted", A), (3, "adopted", B), (5, "retired", A)]
    house = rotating(*events, keys=[A, B], signers=[A])

    code, answer, _ = judge(house, key=A.vkey)

    assert code == 7
    assert "no key leads that is trusted" in answer["what"]
    assert judge(rotating(*events, keys=[A, B], signers=[A, B]), key=A.vkey)[0] == 0


def test_a_wrong_signature_by_a_key_of_the_ledger_is_found_beside_a_right_one(judge):
    house = rotating((0, "adopted", A), (3, "adopted", B), keys=[A, B], signers=[A, B])
    files = house.files()
    text = files["checkpoint"].decode().rpartition("\n\n")[0] + "\n"
    files["checkpoint"] = (note(text, A).decode() + B.line(text + "x")).encode()

    code, answer, _ = judge(zipped(files), key=A.vkey)

    assert code == 7
    assert "is false" in answer["what"]


def test_the_signature_of_a_witness_is_left_alone(judge):
    house = rotating((0, "adopted", A), keys=[A], signers=[A, Signer("w", "witness.example.org"), FIRST])

    assert judge(house, key=A.vkey)[0] == 0


@pytest.mark.parametrize("vkey", ["", "x", None, 5, A.vkey + "x", A.vkey[:-4]])
def test_an_entry_that_adopts_what_is_no_key_is_found(judge, vkey):
    house = House([an_entry(0), an_entry(1, {"type": "key_adopted", "vkey": vkey})], [FIRST], [FIRST])

    assert judge(house)[1]["bad_seq"] == 1


def test_keys_can_be_given_as_a_file(judge, tmp_path):
    house = rotating((0, "adopted", A), keys=[A], signers=[A])
    (tmp_path / "trusted").write_text(f"\n{FIRST.vkey}\n{A.vkey}\n")

    assert judge(house, key=str(tmp_path / "trusted"))[0] == 0
    assert judge(house, key=str(tmp_path / "trusted"))[1]["pinned"] is True


def test_without_a_key_it_says_loudly_what_that_is_worth(judge, capsys, tmp_path):
    house = rotating((0, "adopted", A), keys=[A], signers=[A])

    code, answer, said = judge(house, key=None)
    assert (code, answer["pinned"]) == (0, False)
    assert "WARNING" in said
    assert "CONSISTENT WITH ITSELF" in said
    assert judge(house, key=A.vkey)[2] == ""
    # Who has a checkpoint from elsewhere needs no key for what it counts.
    assert judge(house, "--short", f"12:{root_over(house.entries).hex()[:8]}", key=None)[2] == ""

    assert verify_ledger.main([str(tmp_path / "export.zip")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The export is consistent with itself.\n")
    assert "ONLY KNOWN FROM THE EXPORT" in said
    short = f"7:{root_over(house.entries[:7]).hex()[:8]}"
    assert verify_ledger.main([str(tmp_path / "export.zip"), "--short", short]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The export is consistent, and its first 7 entries are as they were")
    assert f"agrees   with {short}" in said


# Checkpoints from elsewhere


def kept(tmp_path, data):
    path = tmp_path / "kept"
    path.write_bytes(data)
    return "--checkpoint", path


def test_a_checkpoint_of_any_time_fits_its_ledger(judge, parts, tmp_path):
    house = a_life(parts, 60)
    signers = {60: house.keys[2], 43: house.keys[2], 30: house.keys[1], 0: house.keys[0], 5: house.keys[0]}
    for size, signer in signers.items():
        told = kept(tmp_path, house.checkpoint(size, signer))
        code, answer, _ = judge(house, *told)
        assert (code, answer["what"]) == (0, "")
        assert answer["agrees"] == [str(told[1])]

        unsigned = house.checkpoint(size).rpartition(b"\n\n")[0] + b"\n"
        assert judge(house, *kept(tmp_path, unsigned))[0] == 0
        root = root_over(house.entries[:size]).hex()
        for short in (f"{size}:{root[:8]}", f"{size}:{root}", f"{size}:{root[:33]}"):
            assert judge(house, "--short", short)[0] == 0


def test_an_export_that_was_cut_is_found(judge, parts, tmp_path):
    house = a_life(parts, 60)
    short = f"60:{root_over(house.entries).hex()[:8]}"
    for size in (0, 1, 4, 30, 59):
        older = house.cut(size)
        assert judge(older)[1]["what"] == ""

        code, answer, _ = judge(older, "--short", short)
        assert (code, answer["bad_seq"]) == (7, size)
        assert answer["what"] == f"the export was cut: {short} counts 60 entries, there are {size}"
        code, answer, _ = judge(older, *kept(tmp_path, house.checkpoint()))
        assert (code, answer["bad_seq"]) == (7, size)


def test_a_rewritten_ledger_is_found_where_it_differs_from_what_was_kept(judge):
    keys = {"keys": [A], "signers": [A]}
    house = rotating((0, "adopted", A), **keys)
    entries = [*house.entries[:7], an_entry(7, actor="token:evil"), *house.entries[8:]]
    forged = House(entries, **keys)
    assert judge(forged, key=A.vkey)[0] == 0
    shorts = [f"{size}:{root_over(house.entries[:size]).hex()[:8]}" for size in (3, 7, 9, 12)]

    code, answer, _ = judge(forged, *(part for short in shorts for part in ("--short", short)), key=A.vkey)

    assert (code, answer["bad_seq"]) == (7, 7)
    assert answer["what"] == f"{shorts[2]} has another root: an entry from 7 to 8 is not as it was"


def test_a_checkpoint_of_another_ledger_does_not_fit(judge, tmp_path):
    house = rotating((0, "adopted", A), keys=[A], signers=[A])
    elsewhere = checkpoint(12, root_over(house.entries), A, origin="tocsin-00000000")

    code, answer, _ = judge(house, *kept(tmp_path, elsewhere), key=A.vkey)

    assert (code, answer["bad_seq"]) == (7, None)
    assert "is of tocsin-00000000" in answer["what"]


def test_a_checkpoint_of_a_branch_that_was_lost_says_from_where(judge, parts, tmp_path):
    house = a_life(parts, 60)
    lost = checkpoint(50, bytes(32), house.keys[1])

    code, answer, _ = judge(house, *kept(tmp_path, lost))

    assert (code, answer["bad_seq"]) == (7, 42)
    assert f"{ORIGIN}/2 begins" in answer["what"]


def test_a_checkpoint_that_nobody_known_signed_is_refused(judge, tmp_path):
    house = rotating((0, "adopted", A), keys=[A], signers=[A])
    root = root_over(house.entries)

    assert judge(house, *kept(tmp_path, checkpoint(12, root, A)), key=A.vkey)[0] == 0
    assert (
        "not signed by any key"
        in judge(house, *kept(tmp_path, checkpoint(12, root, B)), key=A.vkey)[1]["what"]
    )
    signed = checkpoint(12, root, A).replace(b"\n12\n", b"\n11\n")
    assert judge(house, *kept(tmp_path, signed), key=A.vkey)[0] == 7


@pytest.mark.parametrize(
    "arguments",
    [
        ("--short", "12"),
        ("--short", "12:5bf7"),
        ("--short", "12:5BF7E44F"),
        ("--short", "-1:5bf7e44f"),
        ("--short", "012:5bf7e44f"),
        ("--short", "12:" + "0" * 65),
        ("--checkpoint", "empty"),
        ("--checkpoint", "words"),
        ("--checkpoint", "binary"),
        ("--key", "words"),
        ("--key",),
        ("--unheard-of",),
        ("another",),
    ],
)
def test_what_cannot_be_read_is_wrong_use(judge, arguments, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "words").write_bytes(b"a\nb\nc\n")
    (tmp_path / "binary").write_bytes(b"\xff\0")
    arguments = [tmp_path / one if (tmp_path / one).exists() else one for one in arguments]

    with pytest.raises(SystemExit) as done:
        judge(of_headers(a_header()), *arguments)

    assert done.value.code == 2


def test_a_file_that_is_not_there_or_is_no_export_is_said(tmp_path, capsys):
    (tmp_path / "text").write_text("no zip")
    (tmp_path / "other.zip").write_bytes(zipped({"README.txt": b""}))
    whole = of_headers(a_header()).zip()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    (tmp_path / "empty").write_bytes(b"")

    for name in ("nothing", "text", "other.zip", "cut.zip", "empty", "."):
        assert verify_ledger.main([str(tmp_path / name), "--key", FIRST.vkey]) == 3
        said = capsys.readouterr()
        assert (said.out, name in said.err or name == ".") == ("", True)
    (tmp_path / "whole.zip").write_bytes(whole)
    for option in ("--key", "--checkpoint"):
        assert verify_ledger.main([str(tmp_path / "whole.zip"), option, str(tmp_path / "nothing")]) == 3


# Files


def test_every_file_is_needed(judge, parts):
    house = a_life(parts, 600)
    files = house.files()
    assert {"tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88"} <= {*files}

    for name in files:
        code, answer, _ = judge(zipped({other: content for other, content in files.items() if other != name}))
        assert code == 7, name
        if name.startswith("tile/"):
            assert answer["what"] == f"{name} is missing"
            assert answer["bad_seq"] == (0 if "/000" in name else 256 if "/001" in name else 512)


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "tile/0/000",
        "tile/0/000.p/39",
        "tile/0/001.p/1",
        "tile/9/000.p/1",
        "transitions/5x",
        "transitions/05",
        "tile/entries/000",
        "../checkpoint",
        "CHECKPOINT",
    ],
)
def test_a_file_that_does_not_belong_in_it_is_found(judge, parts, name):
    files = a_life(parts, 40).files()

    assert judge(zipped(files | {name: b"x"}))[0] == 7


def test_a_file_that_is_in_it_twice_is_found(judge, parts):
    files = [*a_life(parts, 40).files().items()]
    for one in files:
        with pytest.warns(UserWarning, match="Duplicate name"):
            twice = zipped([*files, one])
        assert judge(twice)[1]["what"] == "a file is in the export twice"


def test_folders_are_no_files(judge, parts):
    files = a_life(parts, 40).files()

    assert judge(zipped({"tile/": b"", "transitions/": b""} | files))[0] == 0
    assert judge(zipped({"tile/": b"x"} | files))[0] == 7


@pytest.mark.parametrize(
    "size", [b"0", b"39", b"41", b"040", b"-1", b"4e1", b"999999999999999", b"9" * 30, b""]
)
def test_a_checkpoint_over_another_size_is_found(judge, size):
    house = rotating((0, "adopted", A), keys=[A], signers=[A], size=40)
    files = house.files()
    text = files["checkpoint"].partition(b"\n\n")[0].split(b"\n")
    text[1] = size
    for signers in ([A], []):
        files["checkpoint"] = note(b"\n".join(text).decode() + "\n", *signers)
        assert judge(zipped(files), key=A.vkey)[0] == 7


def test_a_header_in_a_bundle_that_differs_is_named(judge, parts):
    house = a_life(parts, 300)
    entries = house.entries.copy()
    entries[270] = sealed(json.loads(entries[270].header) | {"actor": "token:evil"}, *entries[270][1:])
    tiles = tiles_over(entries)

    bundle = judge(zipped(house.files() | {"tile/entries/001.p/44": tiles["tile/entries/001.p/44"]}))[1]
    tile = judge(zipped(house.files() | {"tile/0/001.p/44": tiles["tile/0/001.p/44"]}))[1]
    longer = judge(zipped(house.files() | {"tile/entries/000": house.files()["tile/entries/000"] + b"\0\0"}))[
        1
    ]

    assert (bundle["bad_seq"], tile["bad_seq"], longer["bad_seq"]) == (270, 256, 0)


def test_it_says_if_the_program_in_the_export_is_another(judge, parts):
    files = a_life(parts, 40).files()

    other = judge(zipped(files))[1]
    same = judge(zipped(files | {"verify_ledger.py": PROGRAM.read_bytes()}))[1]

    assert [note for note in other["notes"] if "is another than this one" in note]
    assert not [note for note in same["notes"] if "is another than this one" in note]


# What it says


def test_it_says_in_words_what_is_wrong(tmp_path, capsys):
    house = of_headers(a_header(), a_header(1, at=0))
    (tmp_path / "export.zip").write_bytes(house.zip())

    code = verify_ledger.main([str(tmp_path / "export.zip"), "--key", FIRST.vkey])

    said = capsys.readouterr()
    assert (code, said.out) == (7, "")
    assert said.err == "The export is NOT sound. First wrong entry: 1. it is older than the entry before it\n"


def test_it_can_be_quiet(tmp_path, capsys):
    house = of_headers(a_header())
    (tmp_path / "export.zip").write_bytes(house.zip())

    assert verify_ledger.main([str(tmp_path / "export.zip"), "--key", FIRST.vkey, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_nothing_that_was_read_steers_the_terminal(tmp_path, capsys):
    files = of_headers(a_header()).files()
    (tmp_path / "export.zip").write_bytes(zipped(files | {"\x1b[2J\u202eevil": b""}))

    assert verify_ledger.main([str(tmp_path / "export.zip"), "--key", FIRST.vkey]) == 7
    assert "\\x1b[2J\\u202eevil" in capsys.readouterr().err


def test_at_a_terminal_it_shows_how_far_it_is(tmp_path, capsys, monkeypatch):
    entries = [sealed(a_header(seq), *DULL) for seq in range(4096)]
    (tmp_path / "export.zip").write_bytes(House(entries, [FIRST], [FIRST]).zip())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert verify_ledger.main([str(tmp_path / "export.zip"), "--key", FIRST.vkey]) == 0
    assert "checked 4,096 of 4,096 entries" in capsys.readouterr().err
    (tmp_path / "empty.zip").write_bytes(House([], [FIRST], [FIRST]).zip())
    assert verify_ledger.main([str(tmp_path / "empty.zip"), "--key", FIRST.vkey]) == 0
