"""Serve: run a node with its HTTP face until it is told to stop."""

import asyncio
import logging
import sys
from pathlib import Path

import click

DATA = Path("tocsin-data")
URL_FILE = "url"
"""In the data directory while a server runs on it: where it listens, for the other verbs to find it."""


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=DATA, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8780, show_default=True, help="0 for a free one."
)
def serve(data: Path, host: str, port: int) -> None:
    """Run Tocsin. The first start prints the admin's token, once."""
    from tocsin.core.model.errors import Invalid
    from tocsin.ports import StoreFailed, StoreRefused
    from tocsin.settings import read_settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings()
        asyncio_run(_serve(settings, data, host, port))
    except Invalid as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except (StoreFailed, StoreRefused) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def asyncio_run(coroutine: "asyncio.Future[None] | object") -> None:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)  # type: ignore[arg-type]
    else:
        uvloop.run(coroutine)  # type: ignore[arg-type]


async def _serve(settings: object, data: Path, host: str, port: int) -> None:
    import uvicorn

    from tocsin.settings import Settings
    from tocsin.web.app import build_app
    from tocsin.wiring import build_node, open_store

    assert isinstance(settings, Settings)
    store = open_store(data)
    try:
        node, token = build_node(settings, store)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(node),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=5,
                http="httptools",
                ws="none",
            )
        )
        sockets = [server.config.bind_socket()]
        bound = sockets[0].getsockname()
        url = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        node.start()
        try:
            if token is not None:
                click.echo("This is the admin's token. It is shown only now; keep it:")
                click.echo(token)
            channels = ", ".join(node.channels) or "none (set TOCSIN_SMTP_HOST, TOCSIN_WEBHOOK_URL, ...)"
            click.echo(f"Tocsin listens on {url}; data in {data}; channels: {channels}")
            sys.stdout.flush()
            (data / URL_FILE).write_text(url)
            await server.serve(sockets=sockets)
        finally:
            (data / URL_FILE).unlink(missing_ok=True)
            await node.stop()
    finally:
        store.close()
