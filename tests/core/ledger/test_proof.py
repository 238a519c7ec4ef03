"""Verification believes every proof that is right and none that is a bit off; the file of a proof is read strictly."""

import json
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.ledger.keys import signer, verify
from tests.core.ledger.trees import (
    CONSISTENCY,
    INCLUSION,
    INPUTS,
    ROOTS,
    Tiles,
    entries,
    leaves,
    root_by_definition,
)

from tocsin.core.ledger import checkpoint as checkpoints
from tocsin.core.ledger import proof, prove
from tocsin.core.ledger.checkpoint import Checkpoint
from tocsin.core.ledger.merkle import EMPTY_ROOT, hash_leaf
from tocsin.core.ledger.note import Unverified, encode64
from tocsin.core.ledger.proof import Proof, is_consistent, is_included
from tocsin.core.model.errors import Invalid

COUNT = 2_000
LEAVES = leaves(COUNT)
TILES = Tiles(LEAVES)
ARGON = json.loads((Path(__file__).parent / "argon2020.json").read_text())

sizes = st.integers(1, COUNT)
bits = st.integers(0, 255)


def tree_root(size):
    return prove.root(size, TILES.read)


def published_root(size):
    return bytes.fromhex(ROOTS[size - 1]) if size else EMPTY_ROOT


def flipped(value, bit):
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def spoiled(path, index, root):
    """Paths that are wrong as those of transparency-dev's merkle are (proof/verify_test.go): name -> path."""
    some = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")
    wrong = {
        "trailing garbage": [*path, b""],
        "trailing root": [*path, root],
        "preceding garbage": [b"", *path],
        "preceding root": [root, *path],
        "a half hash": [*path[:-1], path[-1][:16]] if path else [b"x"],
        "truncated": path[:-1] if path else [some],
        "without its first": path[1:] if path else [some],
        "one twice": [*path, path[-1]] if path else [some, some],
        "inserted": [*path[:1], some, *path[1:]],
    }
    if len(path) > 1 and path[0] != path[1]:
        wrong["swapped"] = [path[1], path[0], *path[2:]]
    for at in range(len(path)):
        wrong[f"bit of {at}"] = [*path[:at], flipped(path[at], 3 + at), *path[at + 1 :]]
    return wrong


# Published vectors


@pytest.mark.parametrize(("place", "path"), INCLUSION.items())
def test_the_published_inclusion_proofs_are_believed_and_their_spoiled_forms_are_not(place, path):
    index, size = place
    path = [bytes.fromhex(step) for step in path]
    leaf, root = hash_leaf(bytes.fromhex(INPUTS[index])), published_root(size)

    assert is_included(leaf, index=index, size=size, path=path, root=root)

    for name, wrong in spoiled(path, index, root).items():
        assert not is_included(leaf, index=index, size=size, path=wrong, root=root), name
    for wrong_index, wrong_size in [
        (index - 1, size),
        (index + 1, size),
        (index ^ 2, size),
        (index, size * 2),
        (index, size // 2),
    ]:
        assert not is_included(leaf, index=wrong_index, size=wrong_size, path=path, root=root), (
            wrong_index,
            wrong_size,
        )
    for wrong_leaf, wrong_root in [
        (b"wrong", root),
        (leaf, EMPTY_ROOT),
        (leaf, b"r" * 32),
        (b"", root),
        (leaf, b""),
    ]:
        assert not is_included(wrong_leaf, index=index, size=size, path=path, root=wrong_root)


@pytest.mark.parametrize(("place", "path"), CONSISTENCY.items())
def test_the_published_consistency_proofs_are_believed_and_their_spoiled_forms_are_not(place, path):
    old, new = place
    path = [bytes.fromhex(step) for step in path]
    roots = {"old_root": published_root(old), "new_root": published_root(new)}

    assert is_consistent(old=old, new=new, path=path, **roots)

    for name, wrong in spoiled(path, old, roots["new_root"]).items():
        assert not is_consistent(old=old, new=new, path=wrong, **roots), name
    if path:
        assert not is_consistent(old=old, new=new, path=[], **roots)
        assert not is_consistent(old=old, new=new, path=[roots["old_root"], *path], **roots)
        assert not is_consistent(
            old=old, new=new, path=path, old_root=roots["new_root"], new_root=roots["old_root"]
        )
        for wrong_old, wrong_new in [
            (old - 1, new),
            (old + 1, new),
            (old ^ 2, new),
            (old, new * 2),
            (old, new // 2),
        ]:
            assert not is_consistent(old=wrong_old, new=wrong_new, path=path, **roots), (wrong_old, wrong_new)
    for root in ("old_root", "new_root"):
        for wrong in (b"wrong", b"r" * 32, b""):
            assert not is_consistent(old=old, new=new, path=path, **{**roots, root: wrong})


def test_what_a_public_log_of_a_billion_certificates_answered_is_believed():
    leaf, root = hash_leaf(b64decode(ARGON["leaf_input"])), b64decode(ARGON["root"])
    path = [b64decode(step) for step in ARGON["inclusion"]]
    given = {"index": ARGON["index"], "size": ARGON["size"], "root": root}

    assert is_included(leaf, path=path, **given)
    for name, wrong in spoiled(path, ARGON["index"], root).items():
        assert not is_included(leaf, path=wrong, **given), name

    path = [b64decode(step) for step in ARGON["consistency"]]
    given = {
        "old": ARGON["old"],
        "old_root": b64decode(ARGON["old_root"]),
        "new": ARGON["size"],
        "new_root": root,
    }

    assert is_consistent(path=path, **given)
    for name, wrong in spoiled(path, ARGON["old"], root).items():
        assert not is_consistent(path=wrong, **given), name


# Our own proofs


@settings(max_examples=150)
@given(st.data())
def test_every_proof_of_an_entry_is_believed_and_none_with_a_bit_changed(data):
    size = data.draw(sizes, "size")
    index = data.draw(st.integers(0, size - 1), "index")
    leaf, root, path = LEAVES[index], tree_root(size), prove.inclusion(index, size, TILES.read)
    bit, at = data.draw(bits, "bit"), data.draw(st.integers(0, len(path) + 2), "at")

    assert is_included(leaf, index=index, size=size, path=path, root=root)

    # The size alone is not bound by such a proof: it is signed together with the root.
    values = [leaf, root, *path]
    if at < len(values):
        values[at] = flipped(values[at], bit)
        leaf, root, *path = values
    else:
        index ^= 1 << bit % 12
    assert not is_included(leaf, index=index, size=size, path=path, root=root)


@settings(max_examples=150)
@given(st.data())
def test_every_proof_of_growth_is_believed_and_none_with_a_bit_changed(data):
    new = data.draw(sizes, "new")
    old = data.draw(st.integers(1, new), "old")
    old_root, new_root, path = tree_root(old), tree_root(new), prove.consistency(old, new, TILES.read)
    bit, at = data.draw(bits, "bit"), data.draw(st.integers(0, len(path) + 1), "at")

    assert is_consistent(old=old, old_root=old_root, new=new, new_root=new_root, path=path)

    values = [old_root, new_root, *path]
    values[at] = flipped(values[at], bit)
    old_root, new_root, *path = values
    assert not is_consistent(old=old, old_root=old_root, new=new, new_root=new_root, path=path)


def test_a_proof_is_of_one_place_only():
    for size in range(1, 34):
        tree, root = prove.Tree(size, TILES.read), tree_root(size)
        for index in range(size):
            path = tree.inclusion(index)
            for other in range(-1, 2 * size):
                believed = is_included(LEAVES[index], index=other, size=size, path=path, root=root)
                assert believed == (other == index), (index, other, size)


def test_a_proof_of_growth_is_of_one_older_size_only():
    for new in range(1, 26):
        tree, new_root = prove.Tree(new, TILES.read), tree_root(new)
        for old in range(1, new):
            path = tree.consistency(old)
            for other in range(-1, new + 2):
                given = {"old_root": tree_root(old), "new": new, "new_root": new_root, "path": path}
                assert is_consistent(old=other, **given) == (other == old), (old, other, new)


def test_a_tree_that_was_rewritten_is_consistent_with_none_of_its_older_roots():
    rewritten = [*LEAVES[:100], hash_leaf(b"another"), *LEAVES[101:300]]
    tiles = Tiles(rewritten)
    new_root = root_by_definition(rewritten)

    for old in range(1, 300):
        path = prove.consistency(old, 300, tiles.read)
        believed = is_consistent(old=old, old_root=tree_root(old), new=300, new_root=new_root, path=path)
        assert believed == (old <= 100), old


def test_the_empty_tree_is_the_beginning_of_every_other_and_holds_nothing():
    some = b"r" * 32

    assert is_consistent(old=0, old_root=EMPTY_ROOT, new=0, new_root=EMPTY_ROOT, path=[])
    assert is_consistent(old=0, old_root=EMPTY_ROOT, new=9, new_root=some, path=[])
    assert not is_consistent(old=0, old_root=some, new=9, new_root=some, path=[])
    assert not is_consistent(old=0, old_root=EMPTY_ROOT, new=9, new_root=some, path=[some])
    assert not is_consistent(old=0, old_root=EMPTY_ROOT, new=0, new_root=EMPTY_ROOT, path=[some])
    assert not is_included(some, index=0, size=0, path=[], root=some)
    assert not is_included(some, index=0, size=0, path=[], root=EMPTY_ROOT)


def test_a_tree_is_consistent_with_itself_and_not_with_what_is_larger():
    root = tree_root(9)

    assert is_consistent(old=9, old_root=root, new=9, new_root=root, path=[])
    assert not is_consistent(old=9, old_root=root, new=9, new_root=tree_root(8), path=[])
    assert not is_consistent(old=9, old_root=root, new=9, new_root=root, path=[root])
    assert not is_consistent(old=9, old_root=root, new=8, new_root=tree_root(8), path=[])
    assert not is_consistent(old=-1, old_root=root, new=8, new_root=tree_root(8), path=[])
    assert not is_consistent(old=5, old_root=root, new=8, new_root=tree_root(8), path=[])


# The file

ORIGIN = "tocsin-0badcafe"
SIGNER = signer(ORIGIN)


def a_proof(index=1311, size=COUNT, extra=None):
    checkpoint = checkpoints.sign(Checkpoint(ORIGIN, size, tree_root(size)), [SIGNER])
    return Proof(
        index=index, path=prove.inclusion(index, size, TILES.read), checkpoint=checkpoint, extra=extra
    )


def confirm(given, entry, *, keys=(SIGNER.key,), origin=ORIGIN):
    return proof.confirm(given, entry, keys=keys, verify=verify, origin=origin)


def test_a_file_has_its_lines_in_the_order_of_the_specification():
    given = a_proof(index=2, size=3, extra=b"seen")

    lines = proof.write(given).decode().split("\n")

    assert lines[:6] == [
        "c2sp.org/tlog-proof@v1", "extra c2Vlbg==", "index 2", encode64(tree_root(2)), "", ORIGIN,
    ]  # fmt: skip
    assert "\n".join(lines[5:]).encode() == given.checkpoint


def test_the_example_of_the_specification_is_read():
    # C2SP tlog-proof, its example; signatures and most of the path are left out there.
    text = """c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw[...]1roloI=
— witness1.example mJirIklj[...]qY9v2B/5bg==
""".encode()

    found = proof.read(text)

    assert found.index == 73894
    assert found.extra is not None
    assert found.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.gz")
    assert len(found.path) == 5
    assert found.checkpoint.startswith(b"example.com/fancylog\n109482\n")
    assert proof.write(found) == text


@settings(max_examples=60)
@given(st.data())
def test_every_proof_is_read_as_it_was_written_and_confirms_its_entry(data):
    size = data.draw(sizes, "size")
    index = data.draw(st.integers(0, size - 1), "index")
    given = a_proof(index, size, data.draw(st.none() | st.binary(max_size=40), "extra"))

    assert proof.read(proof.write(given)) == given
    assert confirm(given, b"%d" % index) == Checkpoint(ORIGIN, size, tree_root(size))


def test_no_bit_of_a_file_can_change_but_in_its_extra_data():
    given = a_proof(index=5, size=7, extra=b"e")
    sound, entry = proof.write(given), entries(6)[5]
    extra = range(sound.index(b"extra "), sound.index(b"index "))

    for at in range(len(sound)):
        for bit in range(8):
            changed = bytearray(sound)
            changed[at] ^= 1 << bit
            try:
                confirm(proof.read(bytes(changed)), entry)
            except (Invalid, Unverified):
                continue
            assert at in extra, (at, bit)


def test_a_proof_confirms_no_other_entry_no_other_ledger_and_no_other_key():
    given = a_proof()

    with pytest.raises(Unverified, match="does not lead from entry 1311"):
        confirm(given, b"1312")
    with pytest.raises(Unverified, match="of the ledger"):
        confirm(given, b"1311", origin="tocsin-0badcafe/2")
    with pytest.raises(Unverified, match="No key that is known"):
        confirm(given, b"1311", keys=[signer(ORIGIN, b"x" * 32).key])
    assert confirm(given, b"1311", origin=None).size == COUNT


def test_a_proof_of_one_checkpoint_does_not_fit_another():
    older, newer = a_proof(index=3, size=1000), a_proof(index=3, size=1001)

    with pytest.raises(Unverified):
        confirm(Proof(index=3, path=older.path, checkpoint=newer.checkpoint), b"3")


HASH = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ="


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("", "begins with the line"),
        ("wrong-header\nindex 0", "begins with the line"),
        ("c2sp.org/tlog-proof@v2\nindex 0", "begins with the line"),
        ("c2sp.org/tlog-proof@v1\r\nindex 0\r", "begins with the line"),
        ("c2sp.org/tlog-proof@v1", "says which entry"),
        (f"c2sp.org/tlog-proof@v1\n{HASH}", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nextra YQ==", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nextra", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex ", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex notanumber", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex -5", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex 05", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex  5", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex 5 ", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex 9223372036854775808", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nindex 5\nextra YQ==", "one a line"),
        ("c2sp.org/tlog-proof@v1\nextra YQ==\nextra YQ==\nindex 5", "says which entry"),
        ("c2sp.org/tlog-proof@v1\nextra !!notbase64!!\nindex 0", "extra data of a proof is base64"),
        ("c2sp.org/tlog-proof@v1\nextra YQ\nindex 0", "extra data of a proof is base64"),
        ("c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!", "one a line"),
        (f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH} ", "one a line"),
        (f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-1]}", "one a line"),
        (f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH.replace('Q=', 'R=')}", "one a line"),  # The same bytes.
        (f"c2sp.org/tlog-proof@v1\nindex 0\n{encode64(bytes(64))}", "one a line"),
        (f"c2sp.org/tlog-proof@v1\nindex 0\n{encode64(bytes(31))}", "one a line"),
        ("c2sp.org/tlog-proof@v1\nindex 0\n" + "\n".join([HASH] * 64), "at most 63 hashes"),
        ("c2sp.org/tlog-proof@v1\nindex 0\né", "is ASCII"),
    ],
)
def test_a_file_that_only_looks_like_a_proof_is_refused(head, said):
    with pytest.raises(Invalid, match=said):
        proof.read(head.encode() + b"\n\ncheckpoint\n")


@pytest.mark.parametrize("tail", ["", "\n", "\n\n"])
def test_a_proof_without_a_checkpoint_is_none(tail):
    with pytest.raises(Invalid, match="no checkpoint"):
        proof.read(b"c2sp.org/tlog-proof@v1\nindex 0" + tail.encode())


def test_the_shortest_proof_has_no_hash():
    alone = a_proof(index=0, size=1)

    assert proof.write(alone) == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + alone.checkpoint
    assert confirm(proof.read(proof.write(alone)), b"0").size == 1


def test_the_longest_path_is_read():
    longest = Proof(index=0, path=(b"h" * 32,) * 63, checkpoint=b"c\n")

    assert proof.read(proof.write(longest)) == longest
