"""A Dask worker that is killed while it trains: another worker takes the run over."""

import asyncio
import signal
from pathlib import Path

from tests.torture.processes import Child
from tests.torture.scenes import Scene


def worker_lost(scene: Scene) -> None:
    """Kill the only worker after its first checkpoint, and start another one."""
    scene.clear()
    address_file = scene.folder.with_suffix(".address")
    address_file.unlink(missing_ok=True)
    cluster = [Child(call=lambda: asyncio.run(_scheduler(address_file)))]
    try:
        if not cluster[0].until(address_file.exists):
            raise RuntimeError(f"no Dask scheduler: {cluster[0].wait(0).text}")
        address = address_file.read_text(encoding="utf-8")
        cluster.append(Child(call=lambda: asyncio.run(_worker(address))))
        command = scene.start("--executor", "dask", "--scheduler", address)
        if not command.until(lambda: scene.command.has_checkpoint(scene.folder)):
            ended = scene.end(command)
            raise RuntimeError(f"no checkpoint: {ended.text}\n{cluster[1].wait(0).text}")
        command.after(scene.rng.uniform(0, scene.undisturbed.seconds / 4))
        cluster.append(Child(call=lambda: asyncio.run(_worker(address))))
        cluster[1].send(signal.SIGKILL)
        ended = scene.end(command)
        scene.expect(ended.status == 0, f"exit status {ended.status}: {ended.errors[-300:]}")
        stored = scene.command.results(scene.folder)
        scene.expect(stored == scene.undisturbed.results, "other results")
        scene.again()
    finally:
        for child in cluster:
            child.send(signal.SIGKILL)
            child.wait()


async def _scheduler(address_file: Path) -> None:
    from distributed import Scheduler

    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        part = address_file.with_suffix(".part")
        part.write_text(scheduler.address, encoding="utf-8")
        part.replace(address_file)
        await scheduler.finished()


async def _worker(address: str) -> None:
    from distributed import Worker

    async with Worker(address, nthreads=1) as worker:
        await worker.finished()
