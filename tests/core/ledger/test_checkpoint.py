"""Checkpoints: their text, their signatures, their short form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.ledger.keys import signer, verify

from tocsin.core.ledger import checkpoint as checkpoints
from tocsin.core.ledger import note
from tocsin.core.ledger.checkpoint import Checkpoint, Short, read_short, shorten
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.ledger.note import Unverified
from tocsin.core.model.errors import Invalid

# The example of C2SP tlog-checkpoint v1.0.0. Its key was not published.
SOFA = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SOFA_NOTE = (
    SOFA + "\n— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
ORIGIN = "tocsin-0badcafe"
ROOT = bytes(range(32))
NOW = Checkpoint(ORIGIN, 1311, ROOT)


def test_the_example_of_the_specification_is_read_and_written_the_same():
    text, [signature] = note.split(SOFA_NOTE.encode())

    sofa = checkpoints.read(text)

    assert sofa.origin == signature.name == "example.com/behind-the-sofa"
    assert sofa.size == 20852163
    assert sofa.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoints.write(sofa) == SOFA


@given(st.integers(1, (1 << 63) - 1), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_is_read_as_it_was_written(size, root):
    checkpoint = Checkpoint(ORIGIN, size, root)

    assert checkpoints.read(checkpoints.write(checkpoint)) == checkpoint


def test_extension_lines_are_tolerated_and_never_written():
    assert checkpoints.read(SOFA + "one\ntwo 2\n") == checkpoints.read(SOFA)
    assert checkpoints.write(NOW).count("\n") == 3


def test_the_origin_of_somebody_elses_ledger_may_be_anything_but_empty():
    assert checkpoints.read("Go sum + database\n" + SOFA.partition("\n")[2]).origin == "Go sum + database"


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "\u2003"])
def test_ours_is_also_the_name_of_a_key(origin):
    with pytest.raises(Invalid, match="cannot name a ledger"):
        checkpoints.write(Checkpoint(origin, 1, ROOT))


def test_an_empty_ledger_has_the_empty_root():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)

    assert checkpoints.write(empty) == f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert checkpoints.read(checkpoints.write(empty)) == empty
    with pytest.raises(Invalid, match="empty tree"):
        checkpoints.read(SOFA.replace("20852163", "0"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "three lines"),
        ("\n", "three lines"),
        ("\n\n\n", "three lines"),
        (SOFA[:-1], "three lines"),
        (SOFA + "\n", "three lines"),
        (SOFA + "one\n\ntwo\n", "three lines"),
        ("\n" + SOFA, "three lines"),
        (SOFA.partition("\n")[2], "three lines"),
        (SOFA.replace("example.com/behind-the-sofa", ""), "three lines"),
        *(
            (SOFA.replace("20852163", size), "plain number")
            for size in ("-1", "+1", "01", "1 ", " 1", "1.0", "1e3", "0x10", "1_000", "٣", "9223372036854775808", "9" * 5000)
        ),
        (SOFA.replace("2I=", "2I"), "in base64"),
        (SOFA.replace("2I=", "2J="), "in base64"),  # The same bytes, spelled another way.
        (SOFA.replace("CsUY", ""), "in base64"),
        (SOFA.replace("CsUY", "CsUYCsUY"), "in base64"),
        (SOFA.replace("/", "_"), "in base64"),
        (SOFA.replace("CsUY", " CsU"), "in base64"),
    ],
)  # fmt: skip
def test_a_text_that_only_looks_like_a_checkpoint_is_refused(text, said):
    with pytest.raises(Invalid, match=said):
        checkpoints.read(text)


# Signed


def test_a_signed_checkpoint_is_a_note_and_is_verified():
    data = checkpoints.sign(NOW, [signer(ORIGIN)])

    checkpoint, opened = checkpoints.read_signed(data, [signer(ORIGIN).key], verify, origin=ORIGIN)

    assert data.startswith(f"{ORIGIN}\n1311\n{note.encode64(ROOT)}\n\n— {ORIGIN} ".encode())
    assert checkpoint == NOW
    assert opened.signers == (signer(ORIGIN).key,)


def test_a_checkpoint_is_signed_by_the_old_key_and_the_new_one_while_they_overlap():
    old, new = signer(ORIGIN, b"o" * 32), signer(ORIGIN, b"n" * 32)
    data = checkpoints.sign(NOW, [old, new])

    for keys in ([old.key], [new.key], [old.key, new.key]):
        checkpoint, opened = checkpoints.read_signed(data, keys, verify, origin=ORIGIN)
        assert (checkpoint, opened.signers) == (NOW, tuple(keys))


def test_a_checkpoint_of_another_ledger_is_not_taken_even_if_the_key_is_known():
    data = checkpoints.sign(NOW, [signer("somebody")])

    with pytest.raises(Unverified, match="is of the ledger 'tocsin-0badcafe', not of 'tocsin-0badcafe/2'"):
        checkpoints.read_signed(data, [signer("somebody").key], verify, origin=ORIGIN + "/2")
    assert checkpoints.read_signed(data, [signer("somebody").key], verify, origin=None)[0] == NOW


def test_a_checkpoint_that_nobody_known_signed_is_not_taken():
    data = checkpoints.sign(NOW, [signer(ORIGIN, b"a" * 32)])

    with pytest.raises(Unverified):
        checkpoints.read_signed(data, [signer(ORIGIN, b"b" * 32).key], verify, origin=ORIGIN)


def test_a_signed_text_that_is_no_checkpoint_is_refused():
    with pytest.raises(Invalid):
        checkpoints.read_signed(note.sign("hello\n", [signer("a")]), [signer("a").key], verify, origin=None)


# The short form


def test_the_short_form_is_the_size_and_eight_digits_of_the_root():
    short = shorten(1311, bytes.fromhex("5bf7e44f") + bytes(28))

    assert str(short) == "1311:5bf7e44f"
    assert read_short("1311:5bf7e44f") == short == Short(1311, "5bf7e44f")


@given(st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32))
def test_every_short_form_is_read_as_it_was_written(size, root):
    assert read_short(str(shorten(size, root))) == shorten(size, root)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "1311", "1311:", ":5bf7e44f", "1311:5bf7e44", "1311:5bf7e44f0", "1311:5BF7E44F", "01:5bf7e44f",
        "-1:5bf7e44f", "1311:5bf7e44f ", "1311: 5bf7e44", "1311:5bf7e44g", "9223372036854775808:5bf7e44f", "٣:5bf7e44f",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_short_form_is_refused(text):
    with pytest.raises(Invalid, match="no short form"):
        read_short(text)
