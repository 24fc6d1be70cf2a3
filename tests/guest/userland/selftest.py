# SPDX-License-Identifier: GPL-2.0-or-later
"""The interpreter and its C modules; every line must be the same wherever it runs."""
import binascii
import decimal
import fractions
import hashlib
import json
import math
import random
import re
import struct
import zlib

random.seed(20)
data = bytes(random.randrange(256) for _ in range(20000)) + b"the quick brown fox " * 2000


def line(name, value):
    print(name, hashlib.sha256(repr(value).encode()).hexdigest()[:24])


values = [random.uniform(-50, 50) for _ in range(2000)] + [0.0, -0.0, 1e300, 1e-300, 5e-324]
for f in (math.sin, math.cos, math.tan, math.atan, math.tanh, math.erf, math.floor, math.trunc, math.frexp):
    line(f.__name__, [f(v) for v in values])
line("exp log sqrt gamma", [(math.exp(v % 40), math.expm1(v % 40), math.log(abs(v) + 1), math.sqrt(abs(v)), math.lgamma(abs(v) + 1)) for v in values])
line("fsum hypot gcd", (math.fsum(values), math.hypot(*values[:9]), math.gcd(2**200 * 81, 3**100), math.comb(300, 77)))
line("hex", [v.hex() for v in values])
line("struct", [struct.pack("<defqIhB", v, v, v, int(v), abs(int(v)), int(v), abs(int(v))) for v in values[:500]])
line("unpack", [struct.unpack("<IhBd", data[i:i + 15]) for i in range(0, 9000, 15)])
line("integers", [pow(3, 4000 + i, 10**80 + 7) for i in range(50)] + [math.factorial(500), 7**2000 // 3**900, -7**99 % 13**20])
line("decimal", [(decimal.Decimal(i).sqrt(), decimal.Decimal(1) / (i + 3)) for i in range(300)])
line("fractions", sum(fractions.Fraction(1, i) for i in range(1, 200)))
line("strings", [("%d %08.3f %e %r %g" % (int(v), v, v, v, v)) for v in values])
line("json", json.loads(json.dumps({"a": values, "b": [None, True, "\u00e9\u4e00"]})) == 0)
line("re", re.findall(rb"[a-z]{3}\d*", data))
for name in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b", "blake2s"):
    print(name, hashlib.new(name, data).hexdigest()[:24])
print("crc", zlib.crc32(data), zlib.adler32(data), binascii.crc_hqx(data, 0))
packed = zlib.compress(data, 9)
print("zlib", len(packed), zlib.crc32(packed), zlib.decompress(packed) == data)
table = {str(i): i * i for i in range(20000)}
line("dict", sorted(table.items())[:3000])
line("sort", sorted(values, key=lambda v: (round(v), v)))
