"""The work items, in the order they run: one file for each kind, one line for each in this tuple."""

from bench.work.append import Append
from bench.work.base import Work
from bench.work.change import Copy, Store
from bench.work.deliver import DeliverLarge, DeliverMany, DeliverMedium, DeliverOne
from bench.work.fetch import FetchBodies, FetchFlags, FetchStructure
from bench.work.idle import Idle, IdleTls
from bench.work.opening import Login, OpenCold, OpenWarm
from bench.work.push import Push
from bench.work.retrieve import Retrieve, RetrievePipelined
from bench.work.search import SearchFlag, SearchHeader, SearchText
from bench.work.searching import SEARCHES
from bench.work.submit import Drain, SubmitLocal, SubmitRelayed

WORKS: tuple[type[Work], ...] = (
    DeliverMany,
    DeliverOne,
    DeliverMedium,
    DeliverLarge,
    Append,
    Push,
    Login,
    Idle,
    IdleTls,
    OpenCold,
    OpenWarm,
    FetchFlags,
    FetchStructure,
    FetchBodies,
    SearchFlag,
    SearchHeader,
    SearchText,
    *SEARCHES,
    Store,
    Copy,
    Retrieve,
    RetrievePipelined,
    SubmitLocal,
    SubmitRelayed,
    Drain,
)
