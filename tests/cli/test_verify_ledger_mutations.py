"""Ten thousand ways to change an export, each judged with the pinned key and the newest checkpoint from elsewhere.

Whether a change is one of meaning is decided by `exports.meaning`, which shares nothing with the verifier.
`TOCSIN_TEST_EXPORT_MUTATIONS` says how many (10,000).
"""

import base64
import contextlib
import functools
import io
import json
import os
import random
import warnings
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from tests.cli.exports import (
    ORIGIN,
    Entry,
    House,
    Signer,
    a_life,
    an_entry,
    canonical,
    contents,
    is_signed,
    line_of,
    meaning,
    note,
    root_over,
    sealed,
    zipped,
)
from tests.core.ledger.ledgers import make_ledger
from tests.reliability.tally import tally

from tocsin.core.ledger.encoding import unpack
from tocsin.runtime.export import verify_ledger

MUTATIONS = int(os.environ.get("TOCSIN_TEST_EXPORT_MUTATIONS", "10000"))
PARTS = max(4, MUTATIONS // 2000)
"""Each takes some seconds, and chance begins anew in it."""
EVIL = Signer("evil")


@dataclass(frozen=True)
class Case:
    """An export to change. files: what is in it, in order; zip: it; newest: the file of the newest checkpoint."""

    house: House
    files: dict[str, bytes]
    zip: bytes
    newest: str

    @property
    def size(self) -> int:
        return len(self.house.entries)


def flip(data, chance):
    changed = bytearray(data)
    bit = chance.randrange(len(changed) * 8)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def spoil(data, chance):
    """Change some bytes, anyhow."""
    start = chance.randrange(len(data) + 1)
    noise = chance.choice(
        (chance.randbytes(chance.randint(1, 40)), bytes(chance.randint(1, 9)), b"\n", b" ", b'"')
    )
    return chance.choice(
        (
            lambda: flip(data, chance) if data else noise,
            lambda: data[:start],
            lambda: data[start:],
            lambda: data[:start] + noise + data[start:],
            lambda: data[:start] + noise + data[start + len(noise) :],
            lambda: data + data[start:],
            lambda: b"",
        )
    )()


# The bytes of the zip


def a_bit_of_the_zip(case, chance):
    return flip(case.zip, chance)


def some_bytes_of_the_zip(case, chance):
    return spoil(case.zip, chance)


def a_bit_near_the_end_of_the_zip(case, chance):
    """Where the directory of its files is."""
    start = case.zip.rindex(b"PK\x01\x02") if chance.random() < 0.5 else len(case.zip) - 22
    return case.zip[:start] + flip(case.zip[start:], chance)


# Files


def files_with(case, **changed):
    return zipped(case.files | changed)


def a_file_spoiled(case, chance):
    name = chance.choice([*case.files])
    return files_with(case, **{name: spoil(case.files[name], chance)})


def a_file_dropped(case, chance):
    name = chance.choice([*case.files])
    return zipped({other: content for other, content in case.files.items() if other != name})


def a_file_twice(case, chance):
    name, content = chance.choice([*case.files.items()])
    other = chance.choice((content, spoil(content, chance)))
    both = [(name, content), (name, other)]
    rest = [one for one in case.files.items() if one[0] != name]
    chance.shuffle(both)
    return zipped([*rest, *both])


def a_file_renamed(case, chance):
    name = chance.choice([*case.files])
    index = chance.randrange(len(name))
    new = chance.choice(
        (name[:index] + chance.choice("x0/.") + name[index + 1 :], name + ".p/7", name.upper(), "x/" + name)
    )
    return zipped([(new if other == name else other, content) for other, content in case.files.items()])


def a_file_added(case, chance):
    name = chance.choice(
        (
            "x",
            "entries2.jsonl",
            f"transitions/{chance.randrange(99)}",
            f"tile/0/{chance.randrange(9):03}",
            f"tile/{chance.randrange(9)}/000.p/{chance.randrange(1, 256)}",
            "tile/entries/000.p/1",
            "keys.txt ",
            "CHECKPOINT",
        )
    )
    content = chance.choice((b"", b"x", chance.choice([*case.files.values()])))
    return None if name in case.files else files_with(case, **{name: content})


def two_files_swapped(case, chance):
    one, other = chance.sample([*case.files], 2)
    return files_with(case, **{one: case.files[other], other: case.files[one]})


def two_tiles_swapped(case, chance):
    one, other = chance.sample([name for name in case.files if name.startswith("tile/")], 2)
    return files_with(case, **{one: case.files[other], other: case.files[one]})


def a_hash_in_a_tile(case, chance):
    name = chance.choice([name for name in case.files if name.startswith("tile/") and "entries" not in name])
    content = case.files[name]
    place = chance.randrange(0, len(content), 32)
    other = chance.choice((b"", bytes(32), content[:32], flip(content[place : place + 32], chance)))
    return files_with(case, **{name: content[:place] + other + content[place + 32 :]})


def a_harmless_repacking(case, chance):
    """The same files in another zip."""
    files = [*case.files.items()]
    chance.shuffle(files)
    how = {
        "compress_type": chance.choice((0, 8)),
        "level": chance.randrange(10),
        "date_time": (chance.randint(1980, 2100), 2, 3, 4, 5, 6),
        "external_attr": chance.choice((0, 0o100755 << 16)),
        "create_system": chance.choice((0, 3)),
        "comment": chance.choice((b"", b"a comment")),
        "extra": chance.choice((b"", b"UT\x05\0\x01\0\0\0\0")),
    }
    whole = zipped(files, **how)
    return chance.choice((whole, b"a prefix" + whole))


# Lines of entries.jsonl, everything else as it was


def lines_of(case):
    return case.files["entries.jsonl"].splitlines(keepends=True)


def with_lines(case, lines):
    return files_with(case, **{"entries.jsonl": b"".join(lines)})


def a_line_dropped(case, chance):
    lines = lines_of(case)
    del lines[chance.randrange(len(lines))]
    return with_lines(case, lines)


def a_line_twice(case, chance):
    lines = lines_of(case)
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    return with_lines(case, lines)


def lines_in_another_order(case, chance):
    lines = lines_of(case)
    one, other = sorted(chance.sample(range(len(lines)), 2))
    chance.choice(
        (
            lambda: lines.insert(one, lines.pop(other)),
            lambda: lines.insert(other, lines.pop(one)),
            lambda: lines.__setitem__(slice(one, other + 1), lines[one : other + 1][::-1]),
            lambda: chance.shuffle(lines),
        )
    )()
    return with_lines(case, lines)


def a_line_spoiled(case, chance):
    lines = lines_of(case)
    place = chance.randrange(len(lines))
    lines[place] = spoil(lines[place], chance)
    return with_lines(case, lines)


def a_part_of_another_line(case, chance):
    entries = case.house.entries.copy()
    one, other = chance.sample(range(case.size), 2)
    part = chance.choice(Entry._fields)
    entries[one] = entries[one]._replace(**{part: getattr(entries[other], part)})
    return with_lines(case, map(line_of, entries))


def another_form_of_a_line(case, chance):
    """White space, escapes, another order of keys: it says the same, or nothing that can be read."""
    lines = lines_of(case)
    place = chance.randrange(len(lines))
    line = lines[place]
    value = json.loads(line)
    lines[place] = chance.choice(
        (
            lambda: line.replace(b":", b": ", 1),
            lambda: line.replace(b",", b" ,", 1),
            lambda: b" " + line,
            lambda: line[:-1] + b" \n",
            lambda: line[:-1] + b"\r\n",
            lambda: line.replace(b"e", b"\\u0065", chance.randrange(9)),
            lambda: json.dumps(value).encode() + b"\n",
            lambda: canonical(dict(reversed(value.items()))) + b"\n",
            lambda: json.dumps(dict(reversed(value.items())), separators=(",", ":")).encode() + b"\n",
            lambda: line.replace(b'"header":', b'"header":{},"header":'),
            lambda: line.replace(b'{"decision"', b'{"aaa":1,"decision"'),
        )
    )()
    return with_lines(case, lines)


def changed_json(value, chance):
    """Change one thing somewhere in a value."""
    if isinstance(value, dict) and value:
        name = chance.choice([*value])
        way = chance.randrange(5)
        if way == 0:
            return {other: one for other, one in value.items() if other != name}
        if way == 1:
            return value | {name + "x": 1}
        return value | {name: changed_json(value[name], chance)}
    if isinstance(value, list) and value:
        place = chance.randrange(len(value))
        way = chance.randrange(4)
        if way == 0:
            return value[:place] + value[place + 1 :]
        if way == 1:
            return [*value, value[place]]
        return [*value[:place], changed_json(value[place], chance), *value[place + 1 :]]
    if isinstance(value, bool) or value is None:
        return chance.choice((0, "x", not value))
    if isinstance(value, int):
        return value + chance.choice((-1, 1, 1 << 40, -(1 << 60)))
    if isinstance(value, str):
        return chance.choice((value + "x", value[:-1], value.upper(), value[::-1], ""))
    return chance.choice((None, 1))


def an_edited_part(entry, chance):
    """Edit a header, a decision or a private part; mend the hashes in the header, or not."""
    part = chance.choice(Entry._fields)
    old = getattr(entry, part)
    if old is None:
        return entry._replace(private=canonical({"nonce": "0" * 32}))
    if part == "private" and chance.random() < 0.2:
        return entry._replace(private=None)
    edited = entry._replace(**{part: canonical(changed_json(json.loads(old), chance))})
    if part == "header" or chance.random() < 0.3:
        return edited
    return sealed(json.loads(edited.header) | hashes(edited), edited.decision, edited.private or b"")


def hashes(entry):
    whole = json.loads(sealed({}, entry.decision, entry.private or b"").header)
    names = ["decision_hash"] + (["private_hash"] if entry.private is not None else [])
    return {name: whole[name] for name in names}


def a_line_edited(case, chance):
    entries = case.house.entries.copy()
    place = chance.randrange(case.size)
    entries[place] = an_edited_part(entries[place], chance)
    return with_lines(case, map(line_of, entries))


# A ledger that is rewritten, with every hash and every tile in order, by somebody without the key


def rewritten(case, chance):
    """Other entries, that hang together as well as may be."""
    entries = case.house.entries.copy()
    place = chance.randrange(case.size)
    way = chance.randrange(6)
    if way <= 2:
        entries[place] = an_edited_part(entries[place], chance)
    elif way == 3:
        del entries[place]
    elif way == 4:
        entries = entries[:place]
    else:
        last = json.loads(entries[-1].header)
        entries += [an_entry(len(entries), at=last["at"], policy=last["policy"], actor="token:evil")]
    if way in (3, 5) and chance.random() < 0.7:
        entries = renumbered(entries)
    return entries


def renumbered(entries):
    """Give entries rising numbers, and incidents links that lead from one to the next."""
    moved, seen, made = {}, {}, []
    for seq, entry in enumerate(entries):
        header = json.loads(entry.header)
        moved[header["seq"]] = seq
        header["seq"] = seq
        if header["cause"] is not None:
            header["cause"] = moved.get(header["cause"])
        if header["incident"] is not None:
            last, count = seen.get(header["incident"], (None, 0))
            header["incident_prev"], header["incident_n"] = last, count
            seen[header["incident"]] = seq, count + 1
        made.append(entry._replace(header=canonical(header)))
    return made


def a_rewritten_ledger(case, chance):
    """With the true checkpoint, or one that somebody else signed, and perhaps with keys that say so."""
    forged = case.house.with_entries(rewritten(case, chance))
    files = forged.files()
    files["checkpoint"], files["keys.txt"] = case.files["checkpoint"], case.files["keys.txt"]
    for name in forged.transitions:
        files[f"transitions/{name}"] = case.files[f"transitions/{name}"]
    size, root, origin = len(forged.entries), root_over(forged.entries), case.house.origin(case.size)
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    true_lines = case.files["checkpoint"].rpartition(b"\n\n")[2]
    files["checkpoint"] = chance.choice(
        (
            case.files["checkpoint"],
            note(text, EVIL),
            note(text, Signer("evil", case.house.signers[0].name)),
            note(text) + true_lines,
            note(text, EVIL) + true_lines,
        )
    )
    files["keys.txt"] = chance.choice(
        (
            files["keys.txt"],
            files["keys.txt"] + f"{EVIL.vkey}\n".encode(),
            f"{EVIL.vkey}\n".encode() + files["keys.txt"],
            f"{EVIL.vkey}\n".encode(),
        )
    )
    return zipped(files)


def a_ledger_rewritten_by_who_has_a_key(case, chance):
    """Signed by a true key, retired or not: only the checkpoint that was kept tells."""
    entries = rewritten(case, chance)
    if entries[: case.size] == case.house.entries:
        return None  # That would be the same ledger, a little later.
    signer = chance.choice(case.house.keys)
    forged = replace(case.house, entries=entries, signers=[signer])
    forged = replace(
        forged, transitions={at: by for at, by in forged.transitions.items() if at <= len(entries)}
    )
    return zipped(forged.files())


def a_ledger_with_an_evil_key_adopted(case, chance):
    """An entry in the middle adopts a key, which signs from there on."""
    place = chance.randrange(4, case.size)
    before = json.loads(case.house.entries[place - 1].header)
    adopting = an_entry(
        place,
        {"type": "key_adopted", "vkey": EVIL.vkey},
        at=before["at"],
        policy=before["policy"],
        kind="node",
    )
    entries = renumbered([*case.house.entries[:place], adopting, *case.house.entries[place:]])
    entries = entries[: chance.choice((case.size, case.size + 1))]
    transitions = {place + 1: [chance.choice([EVIL, *case.house.keys])]}
    forged = House(entries, [case.house.keys[0], EVIL], [EVIL], transitions, case.house.origins)
    return zipped(forged.files())


def an_older_export(case, chance):
    """Sound in itself, and signed: only the checkpoint that was kept tells that it was cut."""
    return case.house.cut(chance.randrange(case.size)).zip()


def a_newer_checkpoint_over_older_entries(case, chance):
    files = case.house.cut(chance.randrange(case.size)).files()
    return zipped(files | {"checkpoint": case.files["checkpoint"]})


# Notes and keys


def a_stale_checkpoint(case, chance):
    size = chance.randrange(case.size)
    return files_with(case, checkpoint=case.house.checkpoint(size, chance.choice(case.house.keys)))


def a_checkpoint_that_says_something_else(case, chance):
    text, _, lines = case.files["checkpoint"].decode().rpartition("\n\n")
    origin, size, root = text.split("\n")
    raw = base64.b64decode(root)
    changed = chance.choice(
        (
            (ORIGIN, size, root),
            ("tocsin-00000000", size, root),
            (origin, str(int(size) + chance.choice((-1, 1, 1 << 40))), root),
            (origin, "0" + size, root),
            (origin, size, base64.b64encode(flip(raw, chance)).decode()),
            (origin, size, base64.b64encode(raw[:31]).decode()),
            (origin, size, root, "an extension"),
            (origin, size),
            (size, origin, root),
        )
    )
    said = "\n".join(changed) + "\n"
    signed = chance.choice((said + "\n" + lines, note(said, EVIL).decode(), said, said + "\n"))
    return files_with(case, checkpoint=signed.encode())


def a_signature_changed(case, chance):
    notes = [name for name in case.files if name == "checkpoint" or name.startswith("transitions/")]
    name = chance.choice(notes)
    text, _, tail = case.files[name].decode().rpartition("\n\n")
    lines = tail.splitlines(keepends=True)
    place = chance.randrange(len(lines))
    other = case.files[chance.choice(notes)].decode().rpartition("\n\n")[2].splitlines(keepends=True)
    chance.choice(
        (
            lambda: lines.pop(place),
            lambda: lines.__setitem__(place, chance.choice(other)),
            lambda: lines.append(EVIL.line(text + "\n")),
            lambda: lines.__setitem__(place, EVIL.line(text + "\n")),
            lambda: lines.__setitem__(place, lines[place].replace("— ", "- ")),
            lambda: lines.__setitem__(place, spoil(lines[place].encode(), chance).decode("latin-1")),
            lambda: lines.append(lines[place]),
        )
    )()
    return files_with(case, **{name: (text + "\n\n" + "".join(lines)).encode()})


def a_transition_dropped_or_moved(case, chance):
    name = chance.choice([name for name in case.files if name.startswith("transitions/")])
    files = {other: content for other, content in case.files.items() if other != name}
    if chance.random() < 0.5:
        size = chance.randrange(1, case.size)
        signers = chance.choice(([EVIL], [case.house.keys[-1]]))  # With the right key, it would be as good.
        files[f"transitions/{size}"] = chance.choice(
            (case.files[name], case.house.checkpoint(size, *signers))
        )
    return zipped(files)


def other_keys(case, chance):
    keys = case.files["keys.txt"].decode().splitlines()
    place = chance.randrange(len(keys))
    chance.choice(
        (
            lambda: keys.pop(place),
            lambda: keys.insert(place, EVIL.vkey),
            lambda: keys.append(EVIL.vkey),
            lambda: keys.__setitem__(place, EVIL.vkey),
            lambda: keys.append(keys[place]),
            lambda: chance.shuffle(keys),
            lambda: keys.__setitem__(place, keys[place] + " "),
            lambda: keys.__setitem__(place, keys[place].replace("+", "-")),
            lambda: keys.insert(place, ""),
        )
    )()
    return files_with(case, **{"keys.txt": "".join(f"{key}\n" for key in keys).encode()})


WAYS = [
    (a_bit_of_the_zip, 10),
    (some_bytes_of_the_zip, 4),
    (a_bit_near_the_end_of_the_zip, 4),
    (a_file_spoiled, 8),
    (a_file_dropped, 1),
    (a_file_twice, 2),
    (a_file_renamed, 2),
    (a_file_added, 2),
    (two_files_swapped, 1),
    (two_tiles_swapped, 1),
    (a_hash_in_a_tile, 2),
    (a_harmless_repacking, 4),
    (a_line_dropped, 1),
    (a_line_twice, 1),
    (lines_in_another_order, 2),
    (a_line_spoiled, 8),
    (a_part_of_another_line, 4),
    (another_form_of_a_line, 4),
    (a_line_edited, 8),
    (a_rewritten_ledger, 8),
    (a_ledger_rewritten_by_who_has_a_key, 6),
    (a_ledger_with_an_evil_key_adopted, 2),
    (an_older_export, 2),
    (a_newer_checkpoint_over_older_entries, 1),
    (a_stale_checkpoint, 2),
    (a_checkpoint_that_says_something_else, 4),
    (a_signature_changed, 4),
    (a_transition_dropped_or_moved, 2),
    (other_keys, 2),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A small ledger, which is quick to judge, and one with tiles that are full and tiles that are not."""
    folder = tmp_path_factory.mktemp("ledger")
    ledger = make_ledger(folder, seed=3, turns=300, is_whole=True)
    parts = [entry for segment in ledger.segments for entry in unpack(segment.data)]
    made = []
    for size in (31, 290):
        house = a_life(parts, size)
        newest = folder / f"newest{size}"
        newest.write_bytes(house.checkpoint())
        made.append(Case(house, house.files(), house.zip(), str(newest)))
    return made


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Verify in this process, and remember from one time to the next what does not depend on the export.

    One signature in a hundred is checked by the verifier's own arithmetic, the others by one that is quick.
    """
    own, chance, reader = verify_ledger.is_signed, random.Random(1), verify_ledger.Reader()
    monkeypatch.setattr(
        verify_ledger, "is_signed", lambda *given: (own if chance.random() < 0.01 else is_signed)(*given)
    )
    monkeypatch.setattr(verify_ledger, "read_key", functools.lru_cache(1 << 16)(verify_ledger.read_key))
    monkeypatch.setattr(verify_ledger, "Reader", lambda: reader)
    path = tmp_path / "export.zip"

    def judge(case, data):
        path.write_bytes(data)
        arguments = [str(path), "--json", "--key", case.house.keys[0].vkey, "--checkpoint", case.newest]
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            code = verify_ledger.main(arguments)
        return code, json.loads(out.getvalue())

    return judge


@pytest.mark.parametrize("part", range(PARTS))
def test_every_change_of_meaning_is_noticed_and_nothing_in_a_sound_export(cases, judge, part, capsys):
    warnings.simplefilter("ignore", UserWarning)  # zipfile says that a name is there twice
    chance = random.Random(part)
    truths = []
    for case in cases:
        sound = contents(case.zip)
        assert sound == sorted(case.files.items())
        assert judge(case, case.zip) == (0, judge(case, case.zip)[1])
        truths.append((sound, meaning(sound, case.house.keys)))
    ways, weights = zip(*WAYS, strict=True)

    counts: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    wrong = []
    while counts.total() < MUTATIONS // PARTS:
        which = int(chance.random() < 0.03)
        case, (sound, truth) = cases[which], truths[which]
        way = chance.choices(ways, weights)[0]
        mutated = way(case, chance)
        if mutated is None or mutated == case.zip:
            continue  # This time it would have changed nothing.
        code, answer = judge(case, mutated)
        found = contents(mutated)
        if found == sound:
            kind, is_right = "harmless and accepted", code == 0
        elif meaning(found, case.house.keys) != truth:
            kind, is_right = "of meaning and noticed", code in (3, 7) and bool(answer["what"])
        else:  # It says the same in another form, or differs in what nobody signed: either verdict is right.
            kind, is_right = "of form, " + ("noticed" if code else "accepted"), code in (0, 7)
        counts[kind] += 1
        tried[way.__name__] += 1
        if not is_right:
            wrong.append((part, counts.total(), way.__name__, kind, code, answer["what"]))

    assert wrong == []
    assert len(tried) == len(WAYS)
    assert counts["harmless and accepted"] > counts.total() // 50
    tally("exports changed", changes=counts.total(), found=counts["of meaning and noticed"])
    with capsys.disabled():
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        print(f"\n{counts.total()} changes to an export (part {part}): {said}; 0 misjudged")
