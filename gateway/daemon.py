"""`gateway run`: builds the flow, answers signals, says when it is ready, and ends with everything safe.

SIGTERM and SIGINT stop it: nothing more is taken in, what was taken in is committed, acknowledged, spooled and
checkpointed, and after `STOP_S` at most it ends anyway; the journal then makes good what was cut short. One daemon owns
a state folder: a lock keeps a second one out.

A supervisor (systemd) is told by `gateway.health.notify`: that input is taken in, whatever the regions do; what is
going on; that a recovery takes long and gets on; and that every part is alive (`gateway.health.supervision`).

SIGHUP lets it read its configuration again. One that cannot be used is refused as a whole, and the daemon goes on as
it was. Else the flow is stopped and built anew in the same process: the broker keeps our session meanwhile, and routes
that are the same go on with what they remember.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.audit import actor, trail
from gateway.audit.trail import record
from gateway.clock import Clock
from gateway.collector import collect, standing_still
from gateway.config.material import read_material
from gateway.config.render import explain
from gateway.console import opening as console_opening
from gateway.disk import Disk
from gateway.errors import ConfigError
from gateway.flow import Flow
from gateway.hangup import Hangups
from gateway.health import catalogue, facts, opening
from gateway.health import log as logs
from gateway.health.endpoint import StatusEndpoint
from gateway.health.notify import Notifier, Progress, taking_long
from gateway.health.sentence import node_sentence
from gateway.health.supervision import supervise
from gateway.lock import only_one
from gateway.recovery import Settings
from gateway.trace import exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.config import schema
    from gateway.config.load import Loaded
    from gateway.config.render import Effective
    from gateway.health.web import WebServer

log = logging.getLogger(__name__)

STOP_S = 5.0
SWITCH_S = 0.0005
"""How long a thread that wants to run Python waits for one that does: at each hop an alarm for a batch being sealed."""


async def run(configure: Callable[[], Loaded], ready: Callable[[], None]) -> None:
    """Run one node until a signal; `ready` is called once it takes input in.

    `configure` reads the configuration. Raises `ConfigError` when the first one cannot be used.
    """
    sys.setswitchinterval(SWITCH_S)
    loaded = configure()
    config = loaded.config
    assert config.node is not None
    opening.check(config.health)
    console_opening.check(config.console)
    exporter.check(config.trace)
    folder = Path(config.node.state_folder)
    Disk().make_folder(folder)
    with only_one(folder):
        await _Daemon(loaded, configure, ready).run()
    log.info("stopped")


class _Daemon:
    """The flow under one configuration after the other."""

    def __init__(self, loaded: Loaded, configure: Callable[[], Loaded], ready: Callable[[], None]) -> None:
        self._loaded = loaded
        self._configure = configure
        self._ready = ready
        self._next: Loaded | None = loaded
        self._stop: Callable[[], None] = lambda: None
        self._is_ending = False
        self._reloads = {"taken": 0, "refused": 0}
        self._refusal = ""
        self._notifier = Notifier(os.environ, os.getpid())
        assert loaded.config.node is not None
        folder = Path(loaded.config.node.state_folder)
        self._trail = trail.opened(folder, loaded.config.audit.bytes_max, loaded.sha256)

    async def run(self) -> None:
        """Run until a signal to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        with Hangups(loop, self._reload):
            async with trail.written(self._trail):
                await self._run_flows()

    async def _run_flows(self) -> None:
        helpers = [asyncio.create_task(collect(), name="collector")]
        helpers.append(asyncio.create_task(logs.keep_telling(), name="log"))
        try:
            while self._next is not None:
                self._loaded, self._next = self._next, None
                logs.setup(self._config.log)
                await self._run_flow()
        finally:
            for task in helpers:
                task.cancel()

    @property
    def _config(self) -> schema.Gateway:
        return self._loaded.config

    async def _run_flow(self) -> None:
        assert self._config.node is not None
        progress = Progress()
        with standing_still(), taking_long(self._notifier, "recovering", progress):
            chance = random.Random(os.urandom(16))  # noqa: S311  # jitter is no secret
            flow = Flow(self._config, Clock(), Disk(), chance, progress.step)
        _report(flow)
        try:
            watched = _Watched(flow, self._about)
            async with (
                StatusEndpoint(self._config.node.socket_path, watched.status),
                opening.endpoint(self._config.health, watched, catalogue.NODE, facts.of_node) as watched.server,
                console_opening.console(_Desk(self._loaded, flow, watched, self._take_up)) as watched.console,
            ):
                await self._until_stopped(flow)
        finally:
            flow.close()

    async def _until_stopped(self, flow: Flow) -> None:
        loop = asyncio.get_running_loop()
        ready = self._ready

        def say_ready() -> None:
            ready()
            self._notifier.ready("takes input in")

        work = asyncio.create_task(flow.run(say_ready), name="flow")
        watching = asyncio.create_task(
            supervise(self._notifier, flow.vitals.marks, lambda: node_sentence(flow.status())), name="supervision"
        )

        def stop() -> None:
            flow.stop()
            loop.call_later(STOP_S, work.cancel)

        self._stop, self._ready = stop, lambda: log.info("the new configuration is at work")
        if self._is_ending or self._next is not None:
            stop()  # a signal came while the flow was built
        try:
            await work
        except asyncio.CancelledError:
            log.warning("stopped with work left: the journal has it")
        finally:
            watching.cancel()
            self._stop = lambda: None

    def _end(self) -> None:
        log.info("stopping")
        self._notifier.stopping()
        self._is_ending, self._next = True, None
        self._stop()

    def _reload(self, uid: int, pid: int) -> None:
        self._take_up(actor.of_signal(uid, pid))

    def _take_up(self, who: str) -> tuple[str, ...]:
        """Take up the configuration as it is now; return what is wrong with it, empty when it is taken."""
        try:
            loaded = self._acceptable()
        except ConfigError as error:
            self._reloads["refused"] += 1
            self._refusal = error.fault
            sha256 = error.facts.get("sha256", "unknown")
            record("configuration.refused", who, sha256=sha256, faults=list(error.faults))
            for fault in error.faults:
                log.error("the configuration is not taken: %s", fault)  # noqa: TRY400  # a person's mistake has no trace
            return error.faults
        self._reloads["taken"] += 1
        self._refusal = ""
        log.info("taking up the new configuration")
        before = {line.key: line.value for line in explain(self._loaded)}
        after = {line.key: line.value for line in explain(loaded)}
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        record(trail.TAKEN, who, sha256=loaded.sha256, changed=changed)
        if not self._is_ending:
            self._notifier.reloading(time.monotonic_ns())
            self._next = loaded
            self._stop()
        return ()

    def _acceptable(self) -> Loaded:
        """Return what the file says now. Raises `ConfigError` when this process cannot take it up."""
        loaded = self._configure()
        try:
            self._check(loaded.config)
        except ConfigError as error:
            error.facts.setdefault("sha256", loaded.sha256)
            raise
        return loaded

    def _check(self, config: schema.Gateway) -> None:
        opening.check(config.health)
        console_opening.check(config.console)
        exporter.check(config.trace)
        material = read_material(config.route)
        Settings.of(config, material).pipeline(1, material.keys)
        assert self._config.node is not None
        assert config.node is not None
        for key in ("id", "state_folder", "status_socket"):
            if getattr(config.node, key) != getattr(self._config.node, key):
                raise ConfigError(f"node.{key} has changed, which a running gateway cannot take up", hint="restart it")

    def _about(self) -> dict[str, object]:
        reloads = {**self._reloads, "last_refusal": self._refusal}
        audit = {**self._trail.counts, "waiting": self._trail.waiting}
        return {"pid": os.getpid(), "reloads": reloads, "audit": audit}


class _Watched:
    """A flow, as those who look at the process see it."""

    def __init__(self, flow: Flow, about: Callable[[], dict[str, object]]) -> None:
        self._flow = flow
        self._about = about
        self.server: WebServer | None = None
        self.console: WebServer | None = None

    def status(self) -> dict[str, object]:
        servers = {"health": self.server, "console": self.console}
        listening = {name: server.status() for name, server in servers.items() if server is not None}
        return {**self._flow.status(), **self._about(), **listening}

    def unwell(self) -> str:
        return self._flow.pulse.unwell()

    def unready(self) -> str:
        return self._flow.unready()


class _Desk:
    """A daemon, as its console sees it."""

    def __init__(self, loaded: Loaded, flow: Flow, watched: _Watched, reload: Callable[[str], Sequence[str]]) -> None:
        self.config = loaded.config
        self.effective: Sequence[Effective] = explain(loaded) if loaded.config.console.listen else []
        self.recent = flow.recent
        self.status = watched.status
        self.reload = reload


def _report(flow: Flow) -> None:
    report = flow.recovered.report()
    log.info(
        "recovered in %s s: %s messages replayed, batches %s",
        report["seconds"],
        report["messages_replayed"],
        report["batches"],
    )
    for note in flow.recovered.notes + flow.recovered.journal.notes:
        log.warning("recovery: %s", note)
