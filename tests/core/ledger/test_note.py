"""Signed notes: what others publish is read and written byte for byte, and nothing that is a bit off is believed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.ledger.keys import ENOCH, PETER, PETER_SEED, signer, verify

from tocsin.core.ledger import note
from tocsin.core.ledger.note import Signature, Unverified, make_key, read_key
from tocsin.core.model.errors import Invalid

# golang.org/x/mod, sumdb/note/note_test.go
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
ENOCHS = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"

# C2SP signed-note v1.1.0, the example of its section on verifier keys.
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

# C2SP signed-note v1.0.0, the example at its beginning. Its key was not published.
POEM = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n"
POEM_NOTE = (
    POEM
    + "\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99"
    "ihAQwaqP3ZekRwNtIc=\n"
)


def read(text, *keys):
    return note.read(text.encode() if isinstance(text, str) else text, map(read_key, keys), verify)


# The published examples


def test_the_key_that_go_publishes_is_made_from_its_parts():
    peter = signer("PeterNeumann", PETER_SEED).key

    assert peter.text() == PETER
    assert peter.id.hex() == "c74f20a3"
    assert read_key(PETER) == peter


@pytest.mark.parametrize("text", [PETER, ENOCH, FOO])
def test_published_keys_are_read_and_written_the_same(text):
    key = read_key(text)

    assert key.text() == text
    assert make_key(key.name, key.public) == key


def test_the_note_that_go_publishes_is_signed_byte_for_byte():
    assert note.sign(TEXT, [signer("PeterNeumann", PETER_SEED)]).decode() == TEXT + "\n" + PETERS


def test_the_note_that_go_publishes_is_verified():
    peter, enoch = read_key(PETER), read_key(ENOCH)
    both = TEXT + "\n" + PETERS + ENOCHS

    assert read(TEXT + "\n" + PETERS, PETER) == note.Note(TEXT, (peter,))
    assert read(both, ENOCH, PETER).signers == (peter, enoch)
    one = read(both, PETER)
    assert (one.text, one.signers) == (TEXT, (peter,))
    assert [(line.name, line.id.hex()) for line in one.others] == [("EnochRoot", "af0cfe78")]


def test_the_note_of_the_specification_is_verified():
    opened = read(FOO_NOTE, FOO)

    assert opened == note.Note("This is an example message.\n", (read_key(FOO),))


def test_the_poem_of_the_specification_is_taken_apart_at_its_last_blank_line():
    text, [signature] = note.split(POEM_NOTE.encode())

    assert text == POEM
    assert (signature.name, signature.id.hex()) == ("quasimodo.example/salvatore", "367ba04b")
    assert len(signature.signature) == 64
    with pytest.raises(Unverified, match=r"signed by: quasimodo\.example/salvatore\."):
        read(POEM_NOTE, PETER)


# Keys


def test_no_other_text_of_the_published_key_is_one():
    pieces = {PETER[start:end] for start in range(len(PETER)) for end in range(start + 1, len(PETER) + 1)} - {
        PETER
    }
    mangled = {PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))}

    for text in [
        *pieces,
        *mangled,
        PETER.upper(),
        PETER.replace("c74f", "C74F"),
        PETER + "=",
        PETER + "\n",
        " " + PETER,
    ]:
        with pytest.raises(Invalid):
            read_key(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no verifier key"),
        ("PeterNeumann", "is no verifier key"),
        ("PeterNeumann+c74f20a3", "is no verifier key"),
        ("PeterNeumann+c74f20a3+", "of a type that is not known"),
        # These two: golang.org/x/mod, sumdb/note/note_test.go. The second is not even base64 as it is written.
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "of a type that is not known"),
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "is no verifier key"),
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEQ==", "has 32 bytes"),
        (PETER.replace("c74f20a3", "c74f20a4"), "its id is 'c74f20a4', not c74f20a3"),
        (PETER.replace("Peter", "Pieter"), "its id is 'c74f20a3', not"),
        (PETER.replace("Peter", "Peter "), "cannot name a key"),
        (PETER.replace("PeterNeumann", ""), "cannot name a key"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(text, said):
    with pytest.raises(Invalid, match=said):
        read_key(text)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a+b", "a\nb", "a\x00b", "a\tb", "a\u00a0b", "a\u2003b", "a\u3000", "\u2028"]
)
def test_a_name_has_no_spaces_no_plus_and_is_not_empty(name):
    assert not note.is_name(name)
    with pytest.raises(Invalid, match="cannot name a key"):
        make_key(name, b"k" * 32)


@pytest.mark.parametrize(
    "name", ["a", "tocsin-0badcafe", "tocsin-0badcafe/2", "example.com/behind-the-sofa", "é-鐘", "—"]
)
def test_other_names_will_do(name):
    assert note.is_name(name)
    assert read_key(signer(name).key.text()) == signer(name).key


def test_the_same_bytes_under_another_name_are_another_key():
    one, other = signer("one").key, signer("other").key

    assert one.public == other.public
    assert one.id != other.id
    with pytest.raises(Unverified):
        note.read(note.sign(TEXT, [signer("one")]), [other], verify)


# Which notes are believed


def test_no_single_bit_of_a_note_can_change():
    sound = (TEXT + "\n" + PETERS).encode()
    read(sound, PETER)

    for at in range(len(sound)):
        for bit in range(8):
            changed = bytearray(sound)
            changed[at] ^= 1 << bit
            with pytest.raises((Invalid, Unverified)):
                read(bytes(changed), PETER)


def test_a_change_beneath_an_unknown_signature_changes_nothing_that_is_believed():
    sound = TEXT + "\n" + PETERS + ENOCHS

    for at in range(len(sound) - len(ENOCHS), len(sound)):
        changed = sound[:at] + chr(ord(sound[at]) ^ 1) + sound[at + 1 :]
        try:
            opened = read(changed, PETER)
        except Invalid:
            continue
        assert (opened.text, opened.signers) == (TEXT, (read_key(PETER),))


@pytest.mark.parametrize("wrong_first", [True, False])
def test_a_wrong_signature_of_a_known_key_rejects_the_note_even_beside_a_right_one(wrong_first):
    wrong = PETERS.replace("x08go/ZJ", "x08go/ZK")
    lines = wrong + ENOCHS if wrong_first else ENOCHS + wrong

    with pytest.raises(Unverified, match="The signature of PeterNeumann is wrong"):
        read(TEXT + "\n" + lines, PETER, ENOCH)
    assert read(TEXT + "\n" + lines, ENOCH).signers == (read_key(ENOCH),)


def test_a_second_and_wrong_signature_of_the_same_key_rejects_the_note():
    with pytest.raises(Unverified):
        read(TEXT + "\n" + PETERS + PETERS.replace("nAM=", "nAI="), PETER)


def test_a_signature_of_the_wrong_length_is_never_shown_to_the_library():
    def never(*_):
        raise AssertionError

    key = signer("a").key
    for length in (1, 63, 65, 2420):
        line = f"— a {note.encode64(key.id + b's' * length)}\n"
        with pytest.raises(Unverified, match="The signature of a is wrong"):
            note.read((TEXT + "\n" + line).encode(), [key], never)


def test_a_key_that_signed_twice_is_counted_once():
    assert read(TEXT + "\n" + PETERS + PETERS, PETER).signers == (read_key(PETER),)


def test_a_key_that_shares_only_its_name_or_only_its_id_is_unknown():
    peter = read_key(PETER)
    same_id = f"— PeterNeuman {note.encode64(peter.id + b's' * 64)}\n"
    same_name = f"— PeterNeumann {note.encode64(b'none' + b's' * 64)}\n"

    opened = read(TEXT + "\n" + same_id + same_name + PETERS, PETER)

    assert opened.signers == (peter,)
    assert opened.others == (
        Signature("PeterNeuman", peter.id, b"s" * 64),
        Signature("PeterNeumann", b"none", b"s" * 64),
    )


def test_a_note_that_nobody_known_signed_is_not_believed():
    for keys in ((), (ENOCH,), (FOO, ENOCH)):
        with pytest.raises(Unverified, match="No key that is known here"):
            read(TEXT + "\n" + PETERS, *keys)


def test_a_key_is_known_however_often_it_is_given():
    assert read(TEXT + "\n" + PETERS, PETER, PETER).signers == (read_key(PETER),)


# Form


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        TEXT.encode(),
        (TEXT + "\n").encode(),
        (TEXT + PETERS).encode(),
        ("\n" + PETERS).encode(),  # There is no text at all.
        (TEXT + "\n" + PETERS[:-1]).encode(),
        (TEXT + "\n" + PETERS + "\n").encode(),
        (TEXT + "\n" + PETERS + "Unexpected line.\n").encode(),
        (TEXT + "\n" + "Unexpected line.\n" + PETERS).encode(),
        (TEXT + "\n" + PETERS).replace("\n", "\r\n").encode(),
        b"\x01" + (TEXT + "\n" + PETERS).encode(),
        b"\xff" + (TEXT + "\n" + PETERS).encode(),
        b"\xed\xa0\x80" + (TEXT + "\n" + PETERS).encode(),  # A lone surrogate.
        b"\t" + (TEXT + "\n" + PETERS).encode(),
        (TEXT + "\n" + PETERS.replace("— ", "- ")).encode(),
        (TEXT + "\n" + PETERS.replace("— ", "—")).encode(),
        (TEXT + "\n" + PETERS.replace("— ", "—  ")).encode(),
        (TEXT + "\n" + PETERS.replace("PeterNeumann", "Peter Neumann")).encode(),
        (TEXT + "\n" + PETERS.replace("PeterNeumann", "Peter+Neumann")).encode(),
        (TEXT + "\n" + PETERS.replace("PeterNeumann", "")).encode(),
        (TEXT + "\n" + PETERS.replace("nAM=", "nAM")).encode(),
        (TEXT + "\n" + PETERS.replace("nAM=", "nAN=")).encode(),  # The same bytes, spelled another way.
        (TEXT + "\n" + PETERS.replace("/", "_")).encode(),
        (TEXT + "\n" + PETERS.replace("nAM=", "nAM= ")).encode(),
        (TEXT + "\n— PeterNeumann x08gow==\n").encode(),  # An id, and no signature.
        (TEXT + "\n— PeterNeumann\n").encode(),
        (TEXT + "\n— PeterNeumann \n").encode(),
    ],
)  # fmt: skip
def test_a_malformed_note_is_refused_before_anything_is_verified(data):
    def never(*_):
        raise AssertionError

    with pytest.raises(Invalid):
        note.read(data, [read_key(PETER)], never)


def test_as_many_signatures_are_read_as_the_specification_asks_and_not_without_end():
    long = f"— post.quantum {note.encode64(b'none' + b's' * 5000)}\n"

    assert len(read(TEXT + "\n" + long * 15 + PETERS, PETER).others) == 15
    assert len(read(TEXT + "\n" + long * 99 + PETERS, PETER).others) == 99
    with pytest.raises(Invalid, match="at most 100 signatures"):
        read(TEXT + "\n" + ENOCHS * 100 + PETERS, PETER)
    with pytest.raises(Invalid, match="at most 1048576 bytes"):
        read("x" * (1 << 20) + "\n\n" + PETERS, PETER)


# Writing


@pytest.mark.parametrize("text", ["", "no newline at the end", "a\tb\n", "a\r\n", "a\x00\n", "\ud800\n"])
def test_no_note_is_written_that_could_not_be_read(text):
    with pytest.raises(Invalid):
        note.sign(text, [signer("a")])


def test_no_note_is_written_that_is_too_large_to_be_read():
    with pytest.raises(Invalid, match="would have more"):
        note.sign("x" * (1 << 20) + "\n", [signer("a")])
    with pytest.raises(Invalid, match="would have more"):
        note.sign("x\n", [signer(f"a{n}") for n in range(101)])


def test_a_note_is_signed_by_somebody():
    with pytest.raises(AssertionError):
        note.sign(TEXT, [])


plain = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="".join(map(chr, range(32)))), max_size=20
)


@settings(max_examples=80)
@given(st.lists(plain, min_size=1, max_size=6), st.integers(1, 4), st.data())
def test_what_was_signed_is_read_again_with_any_of_its_keys(lines, count, data):
    text = "".join(line + "\n" for line in lines)
    signers = [signer(f"signer-{n}", bytes([n]) * 32) for n in range(count)]
    known = data.draw(st.lists(st.sampled_from(signers), min_size=1, unique=True))

    opened = note.read(note.sign(text, signers), [key for key, _ in known], verify)

    assert opened.text == text
    assert opened.signers == tuple(key for key, sign in signers if (key, sign) in known)
    assert len(opened.others) == count - len(known)
