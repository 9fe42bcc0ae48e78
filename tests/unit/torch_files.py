"""PyTorch files made by hand: pickles opcode by opcode, zip archives byte by byte, so that
what torch.save() never writes can be written."""

import struct
import zlib

ZEROS = bytes(48)


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tuple_of(*values):
    return b"(" + b"".join(values) + b"t"


def called(module, name, *arguments):
    return f"c{module}\n{name}\n".encode() + tuple_of(*arguments) + b"R"


def storage(key="0", elements=12, kind="torch\nFloatStorage", location="cpu", more=b""):
    return tuple_of(text("storage"), b"c" + kind.encode() + b"\n", text(key), text(location),
                    integer(elements), more) + b"Q"


def tensor(size=(3, 4), stride=(4, 1), offset=0, function="_rebuild_tensor_v2", more=b"",
           of=None):
    return called("torch._utils", function, of or storage(), integer(offset),
                  tuple_of(*map(integer, size)), tuple_of(*map(integer, stride)), b"\x89",
                  b"}", more)


def dict_of(**values):
    items = b"".join(text(key) + value for key, value in values.items())
    return b"}(" + items + b"u"


def program(value):
    return b"\x80\x02" + value + b"."


def archive(entries, flags=0, method=0, crcs=None, zip64=True, count=None, lie=None,
            extras=None):
    """A zip of (name, bytes) in order, as PyTorch lays it out. `crcs` overrides checksums
    by name; `lie` sizes in the directory by name; `count` the number of entries; `extras`
    the extra field by name, which then has to say the sizes."""
    out, directory = b"", b""
    for name, data in entries:
        raw = name if isinstance(name, bytes) else name.encode()
        crc = (crcs or {}).get(name, zlib.crc32(data))
        size = (lie or {}).get(name, len(data))
        extra = b"\1\0\x10\0" + struct.pack("<QQ", size, size) if size >= 1 << 32 else b""
        short = min(size, 0xFFFFFFFF)
        if name in (extras or {}):
            extra, short = extras[name], 0xFFFFFFFF
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 0, flags, method, 0, 0,
                                 crc, short, short, len(raw), len(extra), 0, 0, 0, 0,
                                 len(out)) + raw + extra
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, flags, method, 0, 0, crc,
                           len(data), len(data), len(raw), 0) + raw + data
    start, number = len(out), len(entries) if count is None else count
    out += directory
    if zip64:
        end = len(out)
        out += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 0, 0, 0, 0, number, number,
                           len(directory), start)
        out += struct.pack("<IIQI", 0x07064B50, 0, end, 1)
    return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, number & 0xFFFF, number & 0xFFFF,
                             len(directory), start, 0)


def checkpoint(value, data=ZEROS, more=(), **settings):
    """A whole file whose object is that pickled value."""
    return archive([("a/data.pkl", program(value)), ("a/data/0", data), *more], **settings)


def legacy(value, data=ZEROS, magic=b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", version=b"M\xe9\x03",
           system=b"}", keys=("0",), elements=12):
    keys = keys if isinstance(keys, bytes) else b"](" + b"".join(map(text, keys)) + b"e"
    head = b"".join(map(program, (magic, version, system, value, keys)))
    return head + struct.pack("<q", elements) + data
