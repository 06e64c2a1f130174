"""Compresses the members of an archive again, as small as their format allows.

Usage: python squeeze.py ARCHIVE
"""

from __future__ import annotations

import copy
import struct
import sys
import zipfile
import zlib
from pathlib import Path

from zopfli.zlib import compress

_ROUNDS = 5
_ZLIB_HEADER, _ZLIB_CHECKSUM = 2, 4
"""Bytes around what is compressed."""
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
"""Records of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7, 4.3.12 and 4.3.16."""
_VERSION, _UTF8, _DEFLATED = 20, 0x800, 8


def squeeze(archive: Path) -> None:
    """Replace an archive by a smaller one with the same members."""
    with zipfile.ZipFile(archive) as packed:
        members = [(copy.copy(info), packed.read(info)) for info in packed.infolist()]
    body, directory = bytearray(), bytearray()
    for info, content in members:
        raw = compress(content, numiterations=_ROUNDS)[_ZLIB_HEADER:-_ZLIB_CHECKSUM]
        name = info.filename.encode()
        year, month, day, hour, minute, second = info.date_time
        stamp = (hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day)
        common = (_UTF8, _DEFLATED, *stamp, zlib.crc32(content), len(raw), len(content), len(name), 0)
        directory += _CENTRAL.pack(
            b"PK\x01\x02", _VERSION, _VERSION, *common, 0, 0, 0, info.external_attr, len(body)
        )
        directory += name
        body += _LOCAL.pack(b"PK\x03\x04", _VERSION, *common) + name + raw
    count = len(members)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    archive.write_bytes(body + directory + end)


if __name__ == "__main__":
    squeeze(Path(sys.argv[1]))
