"""Ask the other instances of the service whether they are ready."""

import asyncio
import ssl
from collections.abc import Sequence

import httpx
from msgspec import DecodeError, Struct, json

from safelight.guard.fitness import Other
from safelight.serving.http.addresses import Addresses, Peer
from safelight.settings import Settings

_SECONDS = 2.0


class _Answer(Struct):
    """The answer of /readyz."""

    instance: str = ""
    leaving: bool = False


class Others:
    """The instances that the setting `peers` names, without this one. Without peers: none."""

    def __init__(self, settings: Settings, instance: str) -> None:
        self._instance = instance
        self._addresses = Addresses(settings.peers) if settings.peers else None
        self._uses_tls = "https://" in settings.peers

    async def ready(self) -> Sequence[Other]:
        """Return those that are ready now."""
        if self._addresses is None:
            return ()
        found = await self._addresses.find()
        verify = ssl.create_default_context() if self._uses_tls else False
        async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False, verify=verify) as client:
            answers = await asyncio.gather(*(_ask(client, peer) for peer in found.peers))
        return [
            Other(answer.instance, answer.leaving)
            for answer in answers
            if answer is not None and answer.instance != self._instance
        ]


async def _ask(client: httpx.AsyncClient, peer: Peer) -> _Answer | None:
    """Return the answer of an instance that is ready; else None."""
    request = client.build_request(
        "GET",
        f"{peer.url}/readyz",
        headers=[(b"host", peer.host.encode())],
        extensions={"sni_hostname": peer.name},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            response = await client.send(request)
        return json.decode(response.content, type=_Answer) if response.is_success else None
    except (httpx.HTTPError, TimeoutError, DecodeError):
        return None
