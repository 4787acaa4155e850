"""A typed client of the REST API.

    from limner.client import Client
    from limner.web.api.schemas.trainings import TrainWish

    with Client("http://127.0.0.1:8712", token="lim_…") as limner:
        limner.jobs.wait(limner.uploads.add_photos("zibbo", ["a.jpg", "b.jpg"]).id)
        made = limner.trainings.start(TrainWish(subject="zibbo", preset="quick"))
        print(limner.jobs.wait(made.job.id).result)

Its shapes are those of the API, and its errors those of ``limner.errors``. What is safe is sent again after a lost
connection; every POST carries a key, so it is done once however often it is sent.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

import httpx2

from limner.client.connection import Connection
from limner.client.home import Accounts, Money, Setup, Tokens, Users, Webhooks
from limner.client.jobs import Jobs
from limner.client.photos import Datasets, Photos, Subjects
from limner.client.pictures import Generations, Grids, Images
from limner.client.training import Loras, Trainings
from limner.client.uploading import Uploads

__all__ = ["Client"]


class Client(AbstractContextManager["Client"]):
    """One server of Limner: ``client.subjects.all()``, ``client.trainings.start(...)`` and so on."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8712",
        *,
        token: str = "",
        timeout: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        connection = Connection(url, token, timeout, transport)
        self._connection = connection
        self.subjects = Subjects(connection)
        self.photos = Photos(connection)
        self.uploads = Uploads(connection)
        self.datasets = Datasets(connection)
        self.trainings = Trainings(connection)
        self.loras = Loras(connection)
        self.generations = Generations(connection)
        self.images = Images(connection)
        self.grids = Grids(connection)
        self.jobs = Jobs(connection)
        self.money = Money(connection)
        self.setup = Setup(connection)
        self.accounts = Accounts(connection)
        self.webhooks = Webhooks(connection)
        self.users = Users(connection)
        self.tokens = Tokens(connection)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()
