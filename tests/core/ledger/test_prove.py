"""Proofs that are read from tiles: the same as other people's code gives, and small."""

import functools
import random

import pytest
from pymerkle import InmemoryTree
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

from tocsin.core.ledger import proof, prove
from tocsin.core.ledger.merkle import EMPTY_ROOT, hash_leaf

LEAVES = leaves(70_000)
SMALL = 300

draw = random.Random(6962)
PAIRS = [(draw.randrange(size), size) for size in [*draw.sample(range(1, 70_001), 40), *range(1, 20)]]
"""(lower, size), lower < size."""


@functools.cache
def oracle():
    """The same tree by other people's code."""
    tree = InmemoryTree(algorithm="sha256")
    tree.append_entries(entries(70_000))
    return tree


@pytest.fixture(scope="module")
def tiles():
    return Tiles(LEAVES)


def published():
    return Tiles([hash_leaf(bytes.fromhex(data)) for data in INPUTS])


# The published vectors


@pytest.mark.parametrize(("place", "expected"), INCLUSION.items())
def test_the_published_inclusion_proofs_are_made(place, expected):
    assert [step.hex() for step in prove.inclusion(*place, published().read)] == expected


@pytest.mark.parametrize(("sizes", "expected"), CONSISTENCY.items())
def test_the_published_consistency_proofs_are_made(sizes, expected):
    assert [step.hex() for step in prove.consistency(*sizes, published().read)] == expected


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_are_found(size):
    assert prove.root(size, published().read).hex() == ROOTS[size - 1]


# Against pymerkle


@pytest.mark.parametrize("size", sorted({size for _, size in PAIRS}))
def test_roots_are_those_of_other_peoples_code(tiles, size):
    assert prove.root(size, tiles.read) == oracle().get_root(size)


@pytest.mark.parametrize(("index", "size"), PAIRS)
def test_inclusion_proofs_are_those_of_other_peoples_code(tiles, index, size):
    # It counts from one, and its path begins with the leaf itself.
    leaf, *expected = oracle().prove_inclusion(index + 1, size).path

    assert leaf == LEAVES[index]
    assert prove.inclusion(index, size, tiles.read) == tuple(expected)


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, new in PAIRS if old])
def test_consistency_proofs_are_those_of_the_definition_over_other_peoples_hashes(tiles, old, new):
    # Its own proofs of consistency have another form, which cuts the tree into more pieces.
    def subproof(size, start, end, is_whole):
        """SUBPROOF of RFC 6962 section 2.1.2, word for word."""
        if size == end - start:
            return [] if is_whole else [oracle()._get_root(start, end)]
        half = max(power for power in (1 << n for n in range(20)) if power < end - start)
        if size <= half:
            return [*subproof(size, start, start + half, is_whole), oracle()._get_root(start + half, end)]
        return [*subproof(size - half, start + half, end, False), oracle()._get_root(start, start + half)]

    assert prove.consistency(old, new, tiles.read) == tuple(subproof(old, 0, new, True))


def test_other_peoples_code_finds_the_roots_consistent(tiles):
    for old, new in PAIRS:
        if old:
            theirs = oracle().prove_consistency(old, new)
            theirs.verify(
                prove.root(old, tiles.read), prove.root(new, tiles.read), prior_size=old, later_size=new
            )


def test_other_peoples_code_verifies_what_is_proven_here(tiles):
    for index, size in PAIRS:
        theirs = oracle().prove_inclusion(index + 1, size)
        theirs.path = [LEAVES[index], *prove.inclusion(index, size, tiles.read)]
        theirs.verify(LEAVES[index], prove.root(size, tiles.read), index=index + 1, size=size)


# Every tree up to some size


def test_every_leaf_of_every_small_tree_is_proven():
    small = Tiles(LEAVES[:SMALL])

    for size in [*range(1, 40), 127, 128, 129, 255, 256, 257, SMALL]:
        root = root_by_definition(LEAVES[:size])
        tree = prove.Tree(size, small.read)
        assert prove.root(size, small.read) == root
        for index in range(size):
            path = tree.inclusion(index)
            assert path == prove.inclusion(index, size, small.read)
            assert proof.is_included(LEAVES[index], index=index, size=size, path=path, root=root), (
                index,
                size,
            )


def test_every_growth_of_every_small_tree_is_proven():
    small = Tiles(LEAVES[:SMALL])
    roots = [root_by_definition(LEAVES[:size]) for size in range(SMALL + 1)]

    for new in [*range(40), 127, 128, 129, 255, 256, 257, SMALL]:
        tree = prove.Tree(new, small.read)
        for old in range(new + 1):
            path = tree.consistency(old)
            assert proof.is_consistent(
                old=old, old_root=roots[old], new=new, new_root=roots[new], path=path
            ), (old, new)


# Tiles


def test_a_proof_takes_at_most_two_tiles_of_each_level(tiles):
    for index, size in PAIRS:
        levels = (size.bit_length() + 7) // 8
        tiles.reads.clear()
        prove.inclusion(index, size, tiles.read)
        prove.consistency(index, size, tiles.read)
        prove.root(size, tiles.read)
        assert len(tiles.reads) <= 5 * levels, (index, size)


def test_a_proof_asks_for_no_tile_and_no_hash_that_its_tree_has_not(tiles):
    for index, size in [(17, 70), (0, 257), (256, 512), (300, 66_000), (65_536, 65_537)]:
        tiles.reads.clear()
        prove.inclusion(index, size, tiles.read)
        prove.consistency(index, size, tiles.read)
        prove.root(size, tiles.read)
        for level, number, width in tiles.reads:
            assert 1 <= width == min(256, (size >> 8 * level) - 256 * number)


def test_several_proofs_in_one_tree_read_each_tile_once(tiles):
    tiles.reads.clear()
    tree = prove.Tree(70_000, tiles.read)

    for index in range(0, 70_000, 700):
        tree.inclusion(index)

    assert len(tiles.reads) == len(set(tiles.reads))


def test_a_tile_that_is_too_short_proves_nothing():
    def read(level, index, width):
        return b"h" * 31

    for make in (
        lambda: prove.root(9, read),
        lambda: prove.inclusion(3, 9, read),
        lambda: prove.consistency(3, 9, read),
    ):
        with pytest.raises(ValueError, match="instead of"):
            make()


def test_an_empty_tree_has_a_root_and_proves_nothing_else(tiles):
    tiles.reads.clear()

    assert prove.root(0, tiles.read) == EMPTY_ROOT
    assert prove.consistency(0, 0, tiles.read) == prove.consistency(0, 9, tiles.read) == ()
    with pytest.raises(AssertionError):
        prove.inclusion(0, 0, tiles.read)
    assert not tiles.reads
