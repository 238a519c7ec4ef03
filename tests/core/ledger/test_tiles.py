"""Tiles are cut as C2SP tlog-tiles says, whenever and in whatever steps the tree grew."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.ledger.trees import Tiles, entries, leaves, root_by_definition

from tocsin.core.ledger.merkle import EMPTY_ROOT, Frontier, hash_leaf
from tocsin.core.ledger.tiles import (
    Bundle,
    Edge,
    Tile,
    bundles_of,
    find_place,
    fold,
    pack_bundle,
    path,
    take,
    tiles_of,
    unpack_bundle,
)

LEAVES = leaves(70_000)
SIZES = (
    st.integers(0, len(LEAVES))
    | st.integers(0, 700)
    | st.sampled_from([255, 256, 257, 65_535, 65_536, 65_537])
)


def all_tiles(size):
    """Every tile of the tree of this size, by the definition: full and partial, with its hashes."""
    row, level, found = LEAVES[:size], 0, {}
    while row:
        for at in range(0, len(row), 256):
            part = row[at : at + 256]
            found[Tile(level, at // 256, len(part))] = b"".join(part)
        row = [root_by_definition(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
        level += 1
    return found


# Names


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # The example of tlog-tiles.
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 999), "tile/1/999"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(5, 123456078), "tile/5/x123/x456/078"),  # This and the next: golang.org/x/mod, sumdb/tlog.
        (Tile(5, 123456078, 2), "tile/5/x123/x456/078.p/2"),
        (Tile(63, 0, 255), "tile/63/000.p/255"),
        (Tile(0, (1 << 63) - 1), "tile/0/x009/x223/x372/x036/x854/x775/807"),
        (Bundle(3057500), "tile/entries/x003/x057/500"),
        (Bundle(7, 17), "tile/entries/007.p/17"),
    ],
)
def test_a_place_has_its_path_and_a_path_its_place(place, name):
    assert path(place) == name
    assert find_place(name) == place


@settings(max_examples=300)
@given(
    st.builds(Tile, st.integers(0, 63), st.integers(0, (1 << 63) - 1), st.integers(1, 256))
    | st.builds(Bundle, st.integers(0, (1 << 63) - 1), st.integers(1, 256))
)
def test_every_place_is_found_again_by_its_path(place):
    assert find_place(path(place)) == place


@pytest.mark.parametrize(
    "name",
    [
        "", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000", "tile/0/x001",
        "tile/0/x000/001", "tile/0/001/002", "tile/0/x001/x002", "tile/0/x01/002", "tile/0/X001/002",
        "tile/00/001", "tile/01/001", "tile/64/001", "tile/-1/001", "tile/entry/001", "tile/Entries/001", "tile/0/001/",
        "/tile/0/001", "tile/0/001.p", "tile/0/001.p/", "tile/0/001.p/0", "tile/0/001.p/01", "tile/0/001.p/256",
        "tile/0/001.p/-1", "tile/0/001.p/1/", "tile/0/001.P/1", "tile/0/٠٠١", "tile/0/001\n", " tile/0/001",
        "tile/0/../000", "tile/0/x009/x223/x372/x036/x854/x775/808", "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x001/x000/x000/x000/x000/x000/x000/000",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_path_is_none(name):
    assert find_place(name) is None


# What a tree has


def test_the_tree_of_the_specifications_example_has_the_tiles_that_it_says():
    tiles = list(tiles_of(70_000))

    assert tiles == [
        *(Tile(0, index) for index in range(273)), Tile(0, 273, 112),
        Tile(1, 0), Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]  # fmt: skip
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        (0, []),
        (1, [Tile(0, 0, 1)]),
        (255, [Tile(0, 0, 255)]),
        (257, [Tile(0, 0), Tile(0, 1, 1), Tile(1, 0, 1)]),
        (65_536, [*(Tile(0, index) for index in range(256)), Tile(1, 0), Tile(2, 0, 1)]),
    ],
)
def test_a_tree_has_no_empty_tile_and_no_gap(size, tiles):
    assert list(tiles_of(size)) == tiles


@settings(max_examples=150)
@given(SIZES, SIZES)
def test_what_is_new_since_an_older_size_is_what_that_one_had_not(one, other):
    since, size = sorted((one, other))

    new = list(tiles_of(size, since=since))

    old = set(tiles_of(since))
    assert [tile for tile in tiles_of(size) if tile not in old] == new


@settings(max_examples=50)
@given(SIZES, SIZES)
def test_the_bundles_are_those_of_the_leaves(one, other):
    since, size = sorted((one, other))

    bundles = list(bundles_of(size, since=since))

    lowest = [tile for tile in tiles_of(size, since=since) if tile.level == 0]
    assert bundles == [Bundle(tile.index, tile.width) for tile in lowest]
    assert sum(bundle.width for bundle in bundles_of(size)) == size


# Growing


@settings(max_examples=12)
@given(SIZES)
@example(0)
@example(256)
@example(65_536)
@example(70_000)
def test_the_tiles_of_a_tree_are_those_of_the_definition(size):
    edge = Edge()

    full = edge.extend(LEAVES[:size])
    partial = edge.partial()

    assert all(tile.width == 256 for tile, _ in full)
    assert all(0 < tile.width < 256 for tile, _ in partial)
    assert dict(full + partial) == all_tiles(size)
    assert len(full + partial) == len(dict(full + partial))
    assert set(dict(full + partial)) == set(tiles_of(size))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1500), max_size=30))
def test_the_steps_in_which_a_tree_grew_leave_no_trace(steps):
    total = sum(steps)
    edge, at, made = Edge(), 0, []

    for step in steps:
        made += edge.extend(iter(LEAVES[at : at + step]))
        at += step

    once = Edge()
    assert sorted(made, key=str) == sorted(once.extend(LEAVES[:total]), key=str)
    assert edge.partial() == once.partial()
    assert (edge.size, edge.root()) == (total, once.root())


def test_a_tile_comes_after_all_that_it_stands_on():
    seen = set()

    for tile, _ in Edge().extend(LEAVES):
        if tile.level:
            assert {Tile(tile.level - 1, tile.index * 256 + n) for n in range(256)} <= seen
        seen.add(tile)

    assert Tile(1, 0) in seen


@settings(max_examples=40)
@given(st.data())
def test_an_edge_taken_up_anywhere_from_its_tiles_goes_on_as_if_nothing_had_been(data):
    size = data.draw(st.integers(0, 70_000), "size")
    more = data.draw(st.integers(0, 70_000 - size), "more")
    first = Edge()
    tiles = Tiles()
    tiles.keep(first.extend(LEAVES[:size]))
    tiles.keep(first.partial())

    again = Edge.of(size, tiles.read)

    assert (again.size, again.root(), again.partial()) == (first.size, first.root(), first.partial())
    assert again.extend(LEAVES[size : size + more]) == first.extend(LEAVES[size : size + more])
    assert (again.size, again.root(), again.partial()) == (first.size, first.root(), first.partial())


def test_an_edge_is_taken_up_from_tiles_that_have_grown_since():
    tiles = Tiles(LEAVES)

    for size in (0, 1, 255, 256, 257, 4_000, 65_535, 65_536, 69_999):
        assert Edge.of(size, tiles.read).root() == root_by_definition(LEAVES[:size]), size


def test_only_the_partial_tiles_are_read_to_take_up_an_edge():
    tiles = Tiles(LEAVES)

    Edge.of(70_000, tiles.read)

    assert tiles.reads == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]


@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 70_000, *random.Random(9162).sample(range(70_000), 8)]
)
def test_the_root_is_the_one_that_the_ledger_grows(size):
    edge, frontier = Edge(), Frontier()

    edge.extend(LEAVES[:size])
    frontier.extend(LEAVES[:size])

    assert edge.root() == frontier.root()


def test_an_empty_edge_has_the_empty_root_and_no_tile():
    edge = Edge()

    assert edge.extend([]) == []
    assert (edge.size, edge.root(), edge.partial()) == (0, EMPTY_ROOT, [])


def test_half_a_hash_is_not_taken():
    with pytest.raises(AssertionError):
        Edge().extend([b"short"])


@pytest.mark.parametrize("height", range(9))
def test_folding_gives_the_root_of_a_perfect_tree(height):
    hashes = LEAVES[: 1 << height]

    assert fold(b"".join(hashes)) == root_by_definition(hashes)


def test_a_tile_that_is_too_short_is_named():
    with pytest.raises(ValueError, match=r"tile/1/002\.p/3 has 64 bytes instead of 96"):
        take(lambda *_: b"h" * 64, 1, 2, 3)
    with pytest.raises(ValueError, match=r"tile/0/000\.p/17 has 0 bytes instead of 544"):
        Edge.of(17, lambda *_: b"")


# Bundles of entries


def test_a_bundle_is_the_entries_each_after_its_length():
    assert pack_bundle([b"", b"a", b"x" * 258]) == b"\0\0" + b"\0\1a" + b"\1\2" + b"x" * 258
    assert pack_bundle([]) == b""


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_a_bundle_gives_back_its_entries(given_entries):
    assert unpack_bundle(pack_bundle(given_entries)) == given_entries


def test_the_entries_of_a_bundle_hash_to_its_tile():
    edge = Edge()
    [(tile, data)] = edge.extend(LEAVES[:256])[:1]

    unpacked = unpack_bundle(pack_bundle(entries(256)))

    assert tile == Tile(0, 0)
    assert b"".join(map(hash_leaf, unpacked)) == data


def test_the_largest_entry_fits_and_a_larger_one_is_refused():
    largest = b"x" * 65_535

    assert unpack_bundle(pack_bundle([largest, largest])) == [largest, largest]
    with pytest.raises(ValueError, match="65536 bytes"):
        pack_bundle([b"", largest + b"x"])


def test_a_bundle_that_was_cut_inside_an_entry_is_refused():
    whole = pack_bundle([b"abc", b"", b"de"])
    between = {0, 5, 7, 11}

    for length in range(len(whole) + 1):
        if length in between:
            assert b"".join(unpack_bundle(whole[:length])) == whole[:length].replace(b"\0\3", b"").replace(
                b"\0\0", b""
            ).replace(b"\0\2", b"")
        else:
            with pytest.raises(ValueError, match="the bundle ends inside an entry"):
                unpack_bundle(whole[:length])
