#!/usr/bin/env python3
"""Makes the key files of this folder with openssl 3.0 or later and PyPI `cryptography`.

    python vectors/imports/make.py            # salts, IVs and the .byok are random: refuses to replace files
    python vectors/imports/make.py --check    # opens what can be opened with `cryptography` only, sobre.byok included

`sobre.byok` is not made here: SOBRE_BLESS=1 cargo test --lib written_byok writes it, and --check reads it.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import sys

from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

HERE = pathlib.Path(__file__).resolve().parent
KEYS = HERE.parent / "keys"
PASSPHRASE = "sobre-test"
KID = "https://example.vault.azure.net/keys/transfer/0123456789abcdef0123456789abcdef"


def main():
    if "--check" in sys.argv[1:]:
        return check()
    if any(path.suffix not in (".py", ".md") for path in HERE.iterdir()):
        sys.exit("the files exist; delete them first")
    der_files()
    pfx_files()
    hostile_files()
    jwk_files()
    byok_file()
    for path in HERE.iterdir():
        path.chmod(0o755 if path.suffix == ".py" else 0o644)
    return None


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, cwd=HERE, stderr=subprocess.DEVNULL)


def der_files():
    key = KEYS / "test-rsa2048.pkcs8.pem"
    openssl("pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "DER", "-out", "pkcs8.der")
    openssl("rsa", "-in", key, "-traditional", "-outform", "DER", "-out", "pkcs1.der")
    openssl("pkey", "-in", key, "-pubout", "-outform", "DER", "-out", "public.der")
    openssl("rsa", "-in", key, "-RSAPublicKey_out", "-outform", "DER", "-out", "public-pkcs1.der")
    openssl("x509", "-in", KEYS / "test-certificate.pem", "-outform", "DER", "-out", "certificate.der")
    openssl("ec", "-in", KEYS / "test-ec-p256.pkcs8.pem", "-outform", "DER", "-out", "ec-sec1.der")
    encrypted = ["pkcs8", "-topk8", "-in", key, "-passout", "pass:" + PASSPHRASE, "-outform", "DER"]
    for cipher, prf in [("128", "SHA1"), ("192", "SHA384"), ("256", "SHA256"), ("256", "SHA512")]:
        openssl(*encrypted, "-v2", f"aes-{cipher}-cbc", "-v2prf", "hmacWith" + prf, "-iter", 100,
                "-out", f"pbes2-{prf.lower()}-aes{cipher}.der")
    openssl(*encrypted, "-scrypt", "-scrypt_N", 1024, "-scrypt_r", 8, "-scrypt_p", 2, "-out", "pbes2-scrypt.der")
    openssl(*encrypted, "-v2", "des3", "-iter", 100, "-out", "pbes2-3des.der")
    openssl(*encrypted, "-v1", "PBE-SHA1-3DES", "-iter", 100, "-out", "pbes1-3des.der")
    for name, source in [("ec", "ec-p256.pkcs8"), ("e3", "rsa2048-e3.pkcs8"), ("rsa1024", "rsa1024.pkcs8"),
                         ("three-primes", "rsa2048-three-primes.pkcs8")]:
        openssl("pkcs8", "-topk8", "-in", KEYS / f"test-{source}.pem", "-passout", "pass:" + PASSPHRASE, "-outform", "DER",
                "-iter", 100, "-out", f"pbes2-{name}.der")
    composite_prime()


def composite_prime():
    """Numbers that agree with each other as if the first factor were a prime."""
    first, second = (rsa.generate_private_key(65537, 1024).private_numbers() for _ in range(2))
    q = rsa.generate_private_key(65537, 2048).private_numbers().q
    p = first.p * second.p
    while (p * q).bit_length() != 2048 or (p - 1) % 65537 == 0:
        first, second = (rsa.generate_private_key(65537, 1024).private_numbers() for _ in range(2))
        p = first.p * second.p
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = [0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]
    (HERE / "composite-prime.der").write_bytes(sequence(*map(integer, numbers)))


def pfx_files():
    key, certificate = KEYS / "test-rsa2048.pkcs8.pem", KEYS / "test-certificate.pem"

    def pfx(out, *options, passphrase=PASSPHRASE, key=key, iterations=100):
        # -iter takes back an earlier -nomac.
        openssl("pkcs12", "-export", "-inkey", key, "-iter", iterations, *options, "-passout", "pass:" + passphrase,
                "-out", out)

    alone = ["-nocerts", "-in", key]
    beside = ["-in", certificate]
    pfx("modern.pfx", *alone, "-name", "prod kek \u00fc")
    pfx("modern-sha512.pfx", *alone, "-macalg", "sha512", "-keypbe", "aes-128-cbc")
    pfx("modern-certificate.pfx", *beside)
    pfx("legacy.pfx", "-legacy", *alone)
    pfx("legacy-certificate.pfx", "-legacy", *beside)
    pfx("legacy-rc2-40.pfx", "-legacy", *alone, "-keypbe", "PBE-SHA1-RC2-40", "-macalg", "sha1")
    pfx("legacy-rc2-128.pfx", "-legacy", *alone, "-keypbe", "PBE-SHA1-RC2-128", "-macalg", "sha1")
    pfx("legacy-2des.pfx", "-legacy", *alone, "-keypbe", "PBE-SHA1-2DES", "-macalg", "sha1")
    pfx("legacy-rc4.pfx", "-legacy", *alone, "-keypbe", "PBE-SHA1-RC4-128", "-macalg", "sha1")
    pfx("empty-passphrase.pfx", *alone, passphrase="")
    pfx("unicode-passphrase.pfx", *alone, "-legacy", passphrase="p\u00e4ss \U0001f511")
    pfx("no-mac.pfx", *alone, "-nomac")
    pfx("clear.pfx", *alone, "-nomac", "-keypbe", "NONE")
    pfx("clear-mac.pfx", *alone, "-keypbe", "NONE")
    pfx("certificate-only.pfx", "-nokeys", *beside)
    pfx("ec.pfx", "-nocerts", "-in", KEYS / "test-ec-p256.pkcs8.pem", key=KEYS / "test-ec-p256.pkcs8.pem")
    pfx("rsa1024.pfx", "-nocerts", "-in", KEYS / "test-rsa1024.pkcs8.pem", key=KEYS / "test-rsa1024.pkcs8.pem")
    (HERE / "two-keys.pfx").write_bytes(clear_pfx([key_bag("test-rsa2048.pkcs8.pem"), key_bag("test-rsa3072.pkcs8.pem")]))
    nested = sequence(identifier("1.2.840.113549.1.12.10.1.6"), tagged(0, sequence(key_bag("test-rsa2048.pkcs8.pem"))))
    (HERE / "nested.pfx").write_bytes(clear_pfx([nested]))
    secret = sequence(identifier("1.2.840.113549.1.12.10.1.5"), tagged(0, sequence(identifier("1.2.3"), tagged(0, octets(b"x")))))
    (HERE / "secret-bag.pfx").write_bytes(clear_pfx([secret]))
    no_passphrase()


def no_passphrase():
    """A MAC under no passphrase at all, not even an end mark (RFC 7292 appendix B with an empty P)."""
    safe = sequence(sequence(identifier("1.2.840.113549.1.7.1"), tagged(0, octets(sequence(key_bag("test-rsa2048.pkcs8.pem"))))))
    key = bytes([3]) * 64 + b"sobretst" * 8
    for _ in range(100):
        key = hashlib.sha256(key).digest()
    mac = hmac.digest(key, safe, "sha256")
    digest = sequence(sequence(identifier("2.16.840.1.101.3.4.2.1"), null()), octets(mac))
    mac = sequence(digest, octets(b"sobretst"), integer(100))
    (HERE / "no-passphrase.pfx").write_bytes(clear_pfx([key_bag("test-rsa2048.pkcs8.pem")], mac))


def hostile_files():
    """Files that ask for years of work."""
    pbkdf2 = sequence(identifier("1.2.840.113549.1.5.12"), sequence(octets(bytes(16)), integer(2**31 - 1),
                      sequence(identifier("1.2.840.113549.2.9"), null())))
    scrypt = [sequence(identifier("1.3.6.1.4.1.11591.4.11"), sequence(octets(bytes(16)), integer(n), integer(r), integer(p)))
              for n, r, p in [(2**24, 8, 1), (2**14, 8, 65535), (2**63, 65535, 65535), (2, 65535, 70)]]
    for name, kdf in [("pbkdf2", pbkdf2), ("scrypt-memory", scrypt[0]), ("scrypt-time", scrypt[1]), ("scrypt-overflow", scrypt[2]),
                      ("scrypt-blocks", scrypt[3])]:
        aes = sequence(identifier("2.16.840.1.101.3.4.1.42"), octets(bytes(16)))
        scheme = sequence(identifier("1.2.840.113549.1.5.13"), sequence(kdf, aes))
        (HERE / f"cost-{name}.der").write_bytes(sequence(scheme, octets(bytes(1232))))
    mac = sequence(sequence(sequence(identifier("2.16.840.1.101.3.4.2.1"), null()), octets(bytes(32))), octets(bytes(8)),
                   integer(2**31 - 1))
    (HERE / "cost-mac.pfx").write_bytes(clear_pfx([key_bag("test-rsa2048.pkcs8.pem")], mac))


def jwk_files():
    for bits in 2048, 3072, 4096:
        numbers = load(f"test-rsa{bits}.pkcs8.pem").private_numbers()
        public = numbers.public_numbers
        members = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.p, "q": numbers.q, "dp": numbers.dmp1,
                   "dq": numbers.dmq1, "qi": numbers.iqmp}
        members = {name: base64url(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in members.items()}
        jwk = {"kty": "RSA", "kid": f"kek-{bits}", "use": "enc", "key_ops": ["wrapKey", "unwrapKey"], **members}
        (HERE / f"rsa{bits}.jwk").write_text(json.dumps(jwk, indent=1) + "\n")


def byok_file():
    """The 2048-bit key for the 3072-bit one."""
    pkcs8 = load("test-rsa2048.pkcs8.pem").private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    aes = os.urandom(32)
    package = load("test-rsa3072.pkcs8.pem").public_key().encrypt(aes, oaep()) + keywrap.aes_key_wrap_with_padding(aes, pkcs8)
    file = {"schema_version": "1.0.0", "header": {"kid": KID, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
            "ciphertext": base64url(package), "generator": "make.py"}
    (HERE / "python.byok").write_text(json.dumps(file, indent=1) + "\n")


def check():
    expected = load("test-rsa2048.pkcs8.pem").private_numbers()
    for name in "python.byok", "sobre.byok":
        file = json.loads((HERE / name).read_text())
        assert sorted(file) == ["ciphertext", "generator", "header", "schema_version"], name
        assert file["schema_version"] == "1.0.0", name
        assert file["header"] == {"kid": KID, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}, name
        text = file["ciphertext"]
        assert "=" not in text and "+" not in text and "/" not in text, name
        package = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        aes = load("test-rsa3072.pkcs8.pem").decrypt(package[:384], oaep())
        pkcs8 = keywrap.aes_key_unwrap_with_padding(aes, package[384:])
        assert serialization.load_der_private_key(pkcs8, None).private_numbers() == expected, name
    for path in sorted(HERE.glob("pbes2-*aes*.der")) + [HERE / "pbes2-scrypt.der"]:
        key = serialization.load_der_private_key(path.read_bytes(), PASSPHRASE.encode())
        assert key.private_numbers() == expected, path
    for name in "modern", "modern-sha512", "modern-certificate", "legacy", "legacy-certificate":
        key = pkcs12.load_pkcs12((HERE / f"{name}.pfx").read_bytes(), PASSPHRASE.encode()).key
        assert key.private_numbers() == expected, name
    print("the .byok files, PBES2 and PFX files open with cryptography")


def load(name):
    return serialization.load_pem_private_key((KEYS / name).read_bytes(), None, unsafe_skip_rsa_key_validation=True)


def oaep():
    return padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def clear_pfx(bags, mac=b""):
    data = identifier("1.2.840.113549.1.7.1")
    safe = sequence(data, tagged(0, octets(sequence(*bags))))
    return sequence(integer(3), sequence(data, tagged(0, octets(sequence(safe)))), mac)


def key_bag(name):
    pkcs8 = load(name).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return sequence(identifier("1.2.840.113549.1.12.10.1.1"), tagged(0, pkcs8))


def sequence(*parts):
    return element(0x30, b"".join(parts))


def tagged(number, content):
    return element(0xA0 | number, content)


def octets(content):
    return element(0x04, content)


def null():
    return element(0x05, b"")


def integer(value):
    return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def identifier(text):
    first, second, *rest = map(int, text.split("."))
    content = b""
    for number in [first * 40 + second, *rest]:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.insert(0, number & 0x7F | 0x80)
        content += bytes(groups)
    return element(0x06, content)


def element(tag, content):
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


if __name__ == "__main__":
    main()
