"""Ed25519 as RFC 8032 has it, and secrets that open only with their key and under their name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.core.ledger import note
from tocsin.core.model.errors import Invalid
from tocsin.runtime.signing import Locked, SigningKey, kek_id, unwrap, verify, wrap

KEK, NONCE = b"k" * 32, b"n" * 12
FORM = "01aa0e4c436e6e6e6e6e6e6e6e6e6e6e6eeb5e84c274c0b060cccd3f3f817c9d81bfbc541fc7ba"


# RFC 8032 section 7.1, tests 1 to 3: seed (the secret key there), public key, message, signature.
@pytest.mark.parametrize(
    ("secret", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ],
)
def test_the_vectors_of_rfc_8032_hold(secret, public, message, signature):
    key = SigningKey(bytes.fromhex(secret))

    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert verify(key.public, bytes.fromhex(message), bytes.fromhex(signature))


def test_no_single_bit_of_a_signature_of_the_message_or_of_the_key_can_change():
    key = SigningKey(b"s" * 32)
    sound = key.public, b"message", key.sign(b"message")
    assert verify(*sound)

    for part in range(3):
        for bit in range(8 * len(sound[part])):
            changed = bytearray(sound[part])
            changed[bit // 8] ^= 1 << bit % 8
            assert not verify(*sound[:part], bytes(changed), *sound[part + 1 :]), (part, bit)


@pytest.mark.parametrize("public", [b"", b"k" * 31, b"k" * 33, b"\xff" * 32])
@pytest.mark.parametrize("signature", [b"", b"s" * 63, b"s" * 64, b"s" * 65])
def test_bytes_that_are_no_key_or_no_signature_verify_nothing(public, signature):
    assert not verify(public, b"message", signature)
    assert not verify(SigningKey(b"s" * 32).public, b"message", signature)


def test_a_key_signs_notes_under_its_name():
    signer = SigningKey(b"s" * 32).named("tocsin-0badcafe")

    opened = note.read(note.sign("hello\n", [signer]), [signer.key], verify)

    assert opened.signers == (signer.key,)
    with pytest.raises(Invalid, match="cannot name a key"):
        SigningKey(b"s" * 32).named("two words")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_thirty_two_bytes(length):
    with pytest.raises(AssertionError):
        SigningKey(b"s" * length)


# Wrapping


@settings(max_examples=100)
@given(
    st.binary(max_size=200),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=12, max_size=12),
)
def test_what_was_wrapped_is_opened_with_its_key_and_under_its_name(secret, name, kek, nonce):
    wrapped = wrap(secret, name=name, kek=kek, nonce=nonce)

    assert unwrap(wrapped, name=name, kek=kek) == secret
    assert len(wrapped) == 1 + 4 + 12 + len(secret) + 16
    assert len(secret) < 8 or secret not in wrapped[17:]


def test_the_form_of_a_wrapping_is_kept_for_ever():
    # Version, id of the kek, nonce, then AES-256-GCM of the library for (KEK, NONCE, b"secret", b"ledger-key").
    assert wrap(b"secret", name="ledger-key", kek=KEK, nonce=NONCE).hex() == FORM
    assert unwrap(bytes.fromhex(FORM), name="ledger-key", kek=KEK) == b"secret"


def test_another_key_is_told_by_its_id_and_opens_nothing():
    wrapped = wrap(b"secret", name="ledger-key", kek=KEK, nonce=NONCE)

    with pytest.raises(Locked) as caught:
        unwrap(wrapped, name="ledger-key", kek=b"x" * 32)

    assert "The secret ledger-key was wrapped with the key-encryption key " + kek_id(KEK) in str(caught.value)
    assert "and the one given is " + kek_id(b"x" * 32) in str(caught.value)
    assert kek_id(KEK) != kek_id(b"x" * 32)


def test_a_secret_cannot_be_passed_off_as_another():
    wrapped = wrap(b"secret", name="ledger-key", kek=KEK, nonce=NONCE)

    with pytest.raises(
        Locked, match="The secret envelope-key in the store was changed, or is another secret"
    ):
        unwrap(wrapped, name="envelope-key", kek=KEK)


def test_no_single_bit_of_a_wrapping_can_change():
    sound = wrap(b"secret", name="ledger-key", kek=KEK, nonce=NONCE)

    for bit in range(8 * len(sound)):
        changed = bytearray(sound)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Locked):
            unwrap(bytes(changed), name="ledger-key", kek=KEK)


def test_a_wrapping_that_was_cut_is_refused():
    sound = wrap(b"", name="ledger-key", kek=KEK, nonce=NONCE)

    for length in range(len(sound)):
        with pytest.raises(Locked):
            unwrap(sound[:length], name="ledger-key", kek=KEK)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_encryption_key_of_the_wrong_length_is_told(length):
    for use in (
        lambda kek: wrap(b"secret", name="a", kek=kek, nonce=NONCE),
        lambda kek: unwrap(wrap(b"secret", name="a", kek=KEK, nonce=NONCE), name="a", kek=kek),
    ):
        with pytest.raises(Invalid, match=f"has 32 bytes, this one has {length}"):
            use(b"k" * length)


def test_a_nonce_has_twelve_bytes_and_a_secret_has_a_name():
    with pytest.raises(AssertionError):
        wrap(b"secret", name="a", kek=KEK, nonce=b"n" * 11)
    with pytest.raises(AssertionError):
        wrap(b"secret", name="", kek=KEK, nonce=NONCE)
