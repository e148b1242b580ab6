"""nfnetlink's transactions: either every message of a batch takes effect, or none.

Source: net/netfilter/nfnetlink.c (nfnetlink_rcv_batch).
"""

from __future__ import annotations

import _socket
import struct

from ...model.wire import Message, attributes
from ...startup_typing import TYPE_CHECKING
from ..netlink.socket import (
    HEADER,
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    NetlinkError,
    NetlinkSocket,
    extended,
)

if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17
NFPROTO_INET = 1

#: struct nfgenmsg: family, version, resource id (network order; the subsystem for a batch).
_GENERIC = struct.pack("!BBH", NFPROTO_INET, 0, 0)
_BATCH = struct.pack("!BBH", 0, 0, NFNL_SUBSYS_NFTABLES)

Attributes = dict[int, bytes]


class NfTablesSocket(NetlinkSocket):
    """nfnetlink, of the namespace in which it is made: every message starts with struct nfgenmsg, and changes travel
    in transactions."""

    def __init__(self, family: int = NFPROTO_INET) -> None:
        super().__init__(NETLINK_NETFILTER)
        #: struct nfgenmsg of this family: version 0, no resource id.
        self.generic = struct.pack("!BBH", family, 0, 0)

    def __enter__(self) -> NfTablesSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, kind: int) -> List[Attributes]:
        """The attributes of every object of one sort in the socket's family."""
        answers = self.dump(kind, self.generic)
        return [dict(attributes(payload, len(_GENERIC), len(payload))) for _, payload in answers]

    def transaction(self, messages: List[Message]) -> Optional[NetlinkError]:
        """Commit all messages or none; the first refusal. Its index is -1 for the batch as a whole.

        The last message asks for the answer, not the batch's end: before Linux 6.10 nobody answers
        that one. What the commit itself fails with is answered to the batch's beginning.
        """
        first = self._sequence + 1
        self._sequence += len(messages) + 2
        parts = [_message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, first, _BATCH)]
        for index, (kind, flags, payload) in enumerate(messages, 1):
            flags |= NLM_F_REQUEST | (NLM_F_ACK if index == len(messages) else 0)
            parts.append(_message(kind, flags, first + index, self.generic + payload))
        parts.append(_message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, first + len(messages) + 1, _BATCH))
        self._socket.send(b"".join(parts))
        return self._refusal(first, first + len(messages))

    def _refusal(self, first: int, last: int) -> Optional[NetlinkError]:
        """The first refusal in a transaction, whose beginning has the sequence number ``first``. Reads all answers:
        one left in the socket would be taken for the next transaction's.

        The kernel has answered before send(2) returns. It answers to ``last`` in any case, except where it refuses the
        transaction as a whole before it looks at a message (no nf_tables): then nothing follows the refusal.
        """
        refusal: Optional[NetlinkError] = None
        flags = 0
        while True:
            try:
                data = self._socket.recv(1 << 16, flags)
            except BlockingIOError:
                return refusal
            for sequence, errno, text in _acknowledgements(data):
                if not first <= sequence <= last:
                    continue
                if errno and refusal is None:
                    refusal = NetlinkError(sequence - first - 1, errno, text)
                if sequence == last:
                    return refusal
                flags = _socket.MSG_DONTWAIT if errno and sequence == first else flags


def _acknowledgements(data: bytes) -> Iterator[Tuple[int, int, str]]:
    """(sequence number, errno, text) of each answer in a buffer."""
    offset = 0
    while offset < len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if kind == NLMSG_ERROR:
            errno = -struct.unpack_from("=i", data, offset + 16)[0]
            yield sequence, errno, extended(data[offset : offset + length], flags)
        offset += (length + 3) & ~3


def _message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    body = payload + b"\0" * (-len(payload) & 3)
    return HEADER.pack(HEADER.size + len(payload), kind, flags, sequence, 0) + body
