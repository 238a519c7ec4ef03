"""The tree is the one of RFC 6962, at every size."""

import random

import pytest
from tests.core.ledger.trees import INPUTS, ROOTS, leaves, root_by_definition

from tocsin.core.ledger.merkle import EMPTY_ROOT, Frontier, hash_leaf, hash_node


def frontier_of(hashes):
    frontier = Frontier()
    frontier.extend(hashes)
    return frontier


def test_the_empty_tree_has_the_published_root():
    published = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert Frontier().root().hex() == EMPTY_ROOT.hex() == published


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_trees_have_the_published_roots(size):
    frontier = frontier_of(hash_leaf(bytes.fromhex(given)) for given in INPUTS[:size])

    assert frontier.root().hex() == ROOTS[size - 1]


def test_a_leaf_can_never_pass_for_a_node():
    left, right = leaves(2)

    assert hash_leaf(left + right) != hash_node(left, right)


def test_a_growing_tree_has_the_root_of_the_definition_at_every_size_up_to_300():
    hashes = leaves(300)
    frontier = Frontier()

    for size in range(301):
        assert frontier.size == size
        assert frontier.root() == root_by_definition(hashes[:size]), size
        if size < 300:
            frontier.append(hashes[size])


@pytest.mark.parametrize("size", [*random.Random(6962).sample(range(301, 20_000), 12), 1023, 1024, 1025])
def test_a_larger_tree_has_the_root_of_the_definition(size):
    hashes = leaves(size)

    assert frontier_of(hashes).root() == root_by_definition(hashes)


def test_an_edge_survives_packing_at_every_size():
    hashes = leaves(300)
    frontier = Frontier()

    for leaf in hashes:
        frontier.append(leaf)
        again = Frontier.unpack(frontier.pack())
        assert (again.size, again.root(), again.pack()) == (frontier.size, frontier.root(), frontier.pack())


def test_an_unpacked_edge_grows_on():
    hashes = leaves(77)
    frontier = Frontier.unpack(frontier_of(hashes[:29]).pack())

    frontier.extend(hashes[29:])

    assert frontier.root() == root_by_definition(hashes)


def test_an_edge_is_as_small_as_the_count_of_its_subtrees():
    assert len(frontier_of(leaves(0b1011)).pack()) == 3 * 33


def test_a_copy_and_its_original_grow_apart():
    hashes = leaves(9)
    original = frontier_of(hashes[:5])

    copy = original.copy()
    copy.append(hashes[5])
    original.extend(hashes[6:])

    assert (copy.size, copy.root()) == (6, root_by_definition(hashes[:6]))
    assert (original.size, original.root()) == (8, root_by_definition(hashes[:5] + hashes[6:]))


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"\x00" * 32, "multiple of 33"),
        (b"\x00" * 34, "multiple of 33"),
        (b"\x02" + b"a" * 32 + b"\x02" + b"b" * 32, "falling height"),
        (b"\x01" + b"a" * 32 + b"\x02" + b"b" * 32, "falling height"),
        (b"\x3f" + b"a" * 32, "falling height"),
        (b"\xff" + b"a" * 32, "falling height"),
    ],
)
def test_bytes_that_are_no_edge_are_refused(packed, said):
    with pytest.raises(ValueError, match=said):
        Frontier.unpack(packed)
