"""`/metrics` and `/health` of a parent with several workers, who asks each of them on a socket of its own."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from api.metrics import MetricsServer, start_metrics
from api.workers import Workers
from duckmail.app.listeners import METRICS, Opened, close_listeners
from duckmail.config.schema import Config
from protocols.net.sockets import listen
from storage.embedded.folders import make_socket_folder


class WorkerFigures:
    """`async with WorkerFigures(...)`: answers on the listeners of the configuration. It owns those and `doors`.

    `doors`: for each worker, by its number, the listener on which it alone tells its own figures.
    """

    def __init__(self, config: Config, count: int, opened: Sequence[Opened]) -> None:
        """`opened`: the listeners with the label `METRICS`. Raises: ListenError, EmbeddedError."""
        self._opened = opened
        self._server: MetricsServer | None = None
        self._paths: list[str] = []
        self.doors: list[Opened] = []
        if not opened:
            return
        folder = make_socket_folder(config.server.data)
        self._paths += [f"{folder}/metrics-{number}.sock" for number in range(count)]
        try:
            for path in self._paths:
                self.doors.append(Opened(METRICS, listen(f"unix:{path},mode=0600")))
        except BaseException:
            close_listeners(self.doors)
            raise

    async def __aenter__(self) -> Self:
        if self._opened:
            sockets = [each.sock for one in self._opened for each in one.sockets]
            self._server = await start_metrics(Workers(self._paths), sockets)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.aclose()
        close_listeners([*self._opened, *self.doors])
