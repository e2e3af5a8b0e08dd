"""Makes `spake2.json`, `derivations.json` and `seal.json` with implementations that share no code with ours.

    pip install spake2==0.9 blake3==1.* cryptography && python oracle.py

The output is frozen and committed; run this only to see that it has not changed.
"""

import base64
import json
import pathlib

import blake3
import spake2
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from spake2.ed25519_basic import bytes_to_unknown_group_element

HERE = pathlib.Path(__file__).parent


def element_bytes(scalar_le: bytes, side: type, password: bytes, id_a: bytes, id_b: bytes):
    # The Python scalar is read big-endian, ours little-endian; both are reduced modulo the group order.
    return side(password, idA=id_a, idB=id_b, entropy_f=lambda n: scalar_le[::-1])


def spake2_cases():
    cases = []
    for nameplate, shown, typed, seed in [
        ("4821", "piano-tiger", "piano-tiger", 1),
        ("0000", "abandon-zoo", "abandon-zoo", 2),
        ("123456", "can-alarm", "canal-arm", 3),
        ("4821", "piano-tiger", "piano-tide", 4),
        ("4821", "piano-tiger", "tiger-piano", 5),
    ]:
        scalar_a = bytes((seed * 37 + 11 * index) % 256 for index in range(64))
        scalar_b = bytes((seed * 91 + 7 * index) % 256 for index in range(64))
        id_a = b"lanyard/1 R " + nameplate.encode()
        id_b = b"lanyard/1 I " + nameplate.encode()
        letters = [words.replace("-", "").encode() for words in (shown, typed)]
        a = element_bytes(scalar_a, spake2.SPAKE2_A, letters[0], id_a, id_b)
        b = element_bytes(scalar_b, spake2.SPAKE2_B, letters[1], id_a, id_b)
        element_a, element_b = a.start(), b.start()
        cases.append(
            {
                "shown": f"{nameplate}-{shown}",
                "typed": f"{nameplate}-{typed}",
                "scalar_a": scalar_a.hex(),
                "scalar_b": scalar_b.hex(),
                "element_a": element_a.hex(),
                "element_b": element_b.hex(),
                "key_a": a.finish(element_b).hex(),
                "key_b": b.finish(element_a).hex(),
            }
        )
    return cases


def refused_elements(good: str):
    """What side A must refuse from side B. Each is refused by the Python implementation too, where it looks at all."""
    point = bytes.fromhex(good)[1:]
    order_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
    torsioned = bytes_to_unknown_group_element(point).add(bytes_to_unknown_group_element(order_8)).to_bytes()
    neutral = bytes([1] + 31 * [0])
    return [
        {"why": "nothing", "element": ""},
        {"why": "32 bytes", "element": good[:64]},
        {"why": "34 bytes", "element": good + "00"},
        {"why": "own side", "element": "41" + good[2:]},
        {"why": "symmetric side", "element": "53" + good[2:]},
        {"why": "not on the curve", "element": "42" + "02" + "00" * 31},
        {"why": "neutral element", "element": "42" + neutral.hex()},
        {"why": "small order", "element": "42" + order_8.hex()},
        {"why": "outside the prime-order group", "element": "42" + torsioned.hex()},
        {"why": "neutral element, not canonical", "element": "42" + "ee" + "ff" * 30 + "7f"},
    ]


def derive(context: str, *parts: bytes, length: int = 32) -> bytes:
    return blake3.blake3(b"".join(parts), derive_key_context=context).digest(length=length)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def derivations():
    cases = []
    for seed in (0, 1, 255):
        secret16, secret32 = bytes(16 * [seed]), bytes((seed + index) % 256 for index in range(32))
        hour = 497_222 + seed
        cases.append(
            {
                "link_secret": secret16.hex(),
                "link_mailbox": b64(derive("lanyard/1 mailbox", secret16)[:16]),
                "link_psk": derive("lanyard/1 psk", secret16).hex(),
                "public_key": secret32.hex(),
                "fingerprint": derive("lanyard/1 id", secret32)[:16].hex(),
                "secret": secret32.hex(),
                "hour": hour,
                "mailboxes": [
                    b64(derive("lanyard/1 again", secret32, at.to_bytes(8, "big"))[:16])
                    for at in (hour - 1, hour, hour + 1)
                ],
            }
        )
    return cases


def seal_cases():
    """Sealed messages around the first two changes of the key (PA-15), each opened after the one before."""
    key = bytes(32 * [7])

    def sealed(counter: int, plaintext: bytes, rekey: bool = True) -> str:
        current = key
        for _ in range(counter >> 20 if rekey else 0):
            current = ChaCha20Poly1305(current).encrypt(4 * b"\0" + 8 * b"\xff", bytes(32), None)[:32]
        nonce = 4 * b"\0" + counter.to_bytes(8, "little")
        return (counter.to_bytes(8, "big") + ChaCha20Poly1305(current).encrypt(nonce, plaintext, None)).hex()

    steps = [
        (0, b"first", True, None),
        (0, b"first", True, "replayed"),
        ((1 << 20) - 1, b"last of its key", True, None),
        (1 << 20, b"under the old key", False, "forged"),
        (1 << 20, b"first of the next key", True, None),
        ((1 << 20) - 1, b"late", True, "replayed"),
        (2 << 20, b"as far as may be skipped", True, None),
        ((3 << 20) + 1, b"one too far", True, "too_far_ahead"),
        (3 << 20, b"", True, None),
        ((1 << 64) - 1, b"", False, "too_far_ahead"),
    ]
    messages = [
        {"sealed": sealed(counter, text, rekey), "plaintext": text.hex(), "error": error}
        for counter, text, rekey, error in steps
    ]
    messages.append({"sealed": "00" * 23, "plaintext": "", "error": "too_short"})
    return {"key": key.hex(), "messages": messages}


def write(name: str, value) -> None:
    (HERE / name).write_text(json.dumps(value, indent=1) + "\n")


cases = spake2_cases()
write("spake2.json", {"exchanges": cases, "refused_from_b": refused_elements(cases[0]["element_b"])})
write("derivations.json", derivations())
write("seal.json", seal_cases())
