"""The runtime side of CNI, libcni's part: runs a network's list of plugins for attachments (CNI spec 1.1.0, section 3).

Plugins of podwire's own run in this process, consecutive ones together and for many attachments at once
(``batch``); all others are executed, attachment by attachment (``executed``). Attachments of one call do not share
their fate; what failed keeps nothing, and is no cached result.

Order makes a kill harmless. ADD reserves, then builds, then caches; DEL takes away the devices, then the
reservation, then the cache. So whatever is left of an attachment, its address or its cached result tells of it,
and a DEL (or ``stale``, which finds them) removes the rest: device names follow from the attachment.
"""

from __future__ import annotations

import os
from itertools import groupby

from ...errors import CNI_INCOMPATIBLE_VERSION, CNI_KERNEL_FAILURE, CniError, PodwireError
from ...ipam.allocator import Reservation
from ...ipam.store import Claim
from ...kernel.lock import locked
from ...startup_typing import TYPE_CHECKING
from .. import skel
from ..engine.batch import Answers, Batch, Operations
from ..engine.plugin import Plugin
from ..spec.arguments import Arguments
from ..spec.netconf import Attachment
from ..spec.netlist import NetConfList
from ..spec.result import Result
from .cache import CACHE_DIR, Cache, Origin
from .chain import Chain, make_chain
from .external import Executed

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set

__all__ = ["Answers", "Operations", "Runtime"]


class Runtime:
    """One network's plugins, in the caller's network and mount namespace.

    plugins:     those that can run in this process, by type.
    cache_dir:   libcni's, which also holds the lock.
    plugin_dirs: where plugins are looked for first; one found there that is not podwire's is executed.
    arguments:   CNI_ARGS and capability arguments of all attachments.
    timeout:     seconds that an executed plugin may take; None for as long as it likes.
    """

    def __init__(
        self,
        network: NetConfList,
        plugins: Mapping[str, Plugin],
        cache_dir: str = CACHE_DIR,
        *,
        plugin_dirs: Sequence[str] = (),
        arguments: Optional[Arguments] = None,
        timeout: Optional[float] = None,
    ) -> None:
        self.network = network
        self.cache = Cache(cache_dir, network.name)
        self.arguments = arguments or Arguments()
        self._cache_dir = cache_dir
        self.plugin_dirs = tuple(plugin_dirs)
        self._plugins, self._timeout = plugins, timeout
        self._lock = os.path.join(cache_dir, "podwire.lock")
        self._steps: Chain = make_chain(network, plugins, plugin_dirs, self.arguments, self._lock, timeout)
        first = self._steps[0]
        self._only = first if len(self._steps) == 1 and isinstance(first, Batch) else None

    @property
    def executes(self) -> bool:
        """Whether any plugin is executed, so that nothing can be foreseen, and nothing mended in place."""
        return self._only is None

    # --- the operations of the specification -----------------------------------------------------

    def add(self, attachments: Sequence[Attachment]) -> Answers:
        """ADD. An attachment whose interface exists already is an error."""
        going = list(attachments)
        answers = Answers({}, {})
        reached: List[Attachment] = []
        try:
            for number, step in enumerate(self._steps):
                reached = going
                done = self._add(step, going, answers.results if number else {})
                answers = Answers(done.results, {**answers.errors, **done.errors}, answers.operations + done.operations)
                going = list(done.results)
                self._undo(list(done.errors), number)
            kept = self._keep(answers.results)
            self._undo(list(kept), len(self._steps))
        except BaseException:
            self._undo(reached, len(self._steps))
            raise
        return answers.but(kept)

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        """CHECK: the errors of those that are not as ADD left them; empty if all is well."""
        if not self.network.speaks("0.4.0"):
            version = self.network.cni_version
            message = f"configuration version {version!r} does not support CHECK"
            raise CniError(CNI_INCOMPATIBLE_VERSION, message, "it came with 0.4.0")
        if self.network.disable_check:
            return {}
        errors: Dict[Attachment, CniError] = {}
        previous = {}
        for each in attachments:
            cached = self.cache.read(each)
            if cached is None:
                errors[each] = CniError(CNI_KERNEL_FAILURE, f"{each.name} has no cached result of ADD")
            else:
                previous[each] = cached.result
        for number, step in enumerate(self._steps):
            sound = {each: result for each, result in previous.items() if each not in errors}
            if isinstance(step, Batch):
                errors.update(step.check(list(sound), sound if number else {}))
                continue
            for each, result in sound.items():
                try:
                    step.check(each, result)
                except CniError as error:
                    errors[each] = error
        return errors

    def delete(self, attachments: Iterable[Attachment]) -> Dict[Attachment, CniError]:
        """DEL: last plugin first, with the final result of ADD; then forget it. What is not there is no
        error, and neither is a namespace that is gone. The errors of attachments that executed plugins failed
        for: they keep their cached result, for another DEL."""
        gone = list(attachments)
        previous = self._results(gone)
        errors: Dict[Attachment, CniError] = {}
        for step in reversed(self._steps):
            gone = [each for each in gone if each not in errors]
            if isinstance(step, Batch):
                step.remove(gone)
                continue
            for each in gone:
                try:
                    step.remove(each, previous.get(each))
                except CniError as error:
                    errors[each] = error
        for each in gone:
            if each not in errors:
                self.cache.remove(each)
        return errors

    def collect(self, valid: Iterable[Attachment]) -> List[CniError]:
        """GC: whatever is cached and not valid is DELed; then the plugins collect what else there is (from
        1.1.0 on). Goes on after errors and gives them all."""
        if self.network.disable_gc:
            return []
        keep = list(valid)
        claims = {each.claim for each in keep}
        errors: List[CniError] = []
        stale = [each for each in self.cache.all() if each.attachment.claim not in claims]
        for arguments, group in groupby(stale, key=lambda each: each.arguments):
            errors += self._with(arguments).delete([each.attachment for each in group]).values()
        for step in self._steps if self.network.speaks("1.1.0") else ():
            try:
                if isinstance(step, Batch):
                    step.remove(step.leases(claims))
                else:
                    step.collect(keep)
            except PodwireError as error:
                errors.append(skel.as_cni_error(error))
        return errors

    def status(self) -> None:
        """STATUS: CniError if the next ADD would fail, as far as the plugins know. Before 1.1.0 nobody knows."""
        for step in self._steps if self.network.speaks("1.1.0") else ():
            step.status()

    # --- more than the specification has, for those who run many ---------------------------------

    def dry_run(self, attachments: Sequence[Attachment]) -> Answers:
        """What ADD would answer, and the operations on what attachments share; results without addresses
        where plugins are executed. Changes nothing."""
        if self._only is None:
            return Answers({attachment: Result() for attachment in attachments}, {})
        return self._only.dry_run(attachments)

    def mend(self, held: Mapping[Attachment, Reservation], *, check: bool = False) -> Answers:
        """Make attachments that hold these addresses look as this configuration wants: what CHECK would
        find is put right, also eth0 gone or another MTU. With ``check`` nothing is changed; the operations
        tell what CHECK finds, and so do the errors of attachments that cannot be looked at.

        Where plugins are executed, what CHECK finds is an error: they can only be attached anew.
        """
        if self._only is None:
            able = self.network.speaks("0.4.0")
            return Answers(self._results(held), {}).but(self.check(list(held)) if able else {})
        answers = self._only.mend(held, {}, check=check)
        if check:
            return answers
        differing = {each: result for each, result in answers.results.items() if not self._is_cached(each, result)}
        return answers.but(self._keep(differing))

    def shared(self, answers: Answers) -> Operations:
        """The operations on what attachments share, of those that ADD needed."""
        return () if self._only is None else self._only.shared(answers)

    def devices(self, attachment: Attachment) -> Set[str]:
        """The node's devices that are the attachment's own, as far as podwire's own plugins made them."""
        return {name for step in self._steps if isinstance(step, Batch) for name in step.devices(attachment)}

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Reservation]]:
        """The addresses that attachments hold, where they are of this configuration's ranges; else None.
        Executed plugins keep them to themselves: that there is a cached result is all that is known."""
        if self._only is not None:
            return self._only.held(attachments)
        return {attachment: Reservation(()) if self.cache.read(attachment) else None for attachment in attachments}

    def stale(self, valid: Set[Claim]) -> List[Attachment]:
        """Attachments that left an address or a cached result, and are none of the valid ones (for GC)."""
        claims = {cached.attachment.claim: cached.attachment for cached in self.cache.all()}
        for step in self._steps:
            for each in step.leases(valid) if isinstance(step, Batch) else ():
                claims.setdefault(each.claim, each)
        return [attachment for claim, attachment in claims.items() if claim not in valid]

    # --- the parts -------------------------------------------------------------------------------

    @staticmethod
    def _add(step: Batch | Executed, going: Sequence[Attachment], previous: Mapping[Attachment, Result]) -> Answers:
        if isinstance(step, Batch):
            return step.add(going, previous)
        answers = Answers({}, {})
        for each in going:
            try:
                each.validate()
                answers.results[each] = step.add(each, previous.get(each))
            except CniError as error:
                answers.errors[each] = error
        return answers

    def _undo(self, failed: Sequence[Attachment], reached: int) -> None:
        """DEL after a failed ADD, from the plugin it failed at backwards. What goes wrong here is left to the
        DEL that the specification wants of whoever asked for the ADD."""
        for step in reversed(self._steps[: reached + 1]) if failed else ():
            if isinstance(step, Batch):
                step.remove(failed)
                continue
            for each in failed:
                try:
                    step.remove(each, None)
                except CniError:
                    continue
        for each in failed:
            self.cache.remove(each)

    def _keep(self, results: Mapping[Attachment, Result]) -> Dict[Attachment, CniError]:
        with locked(self._lock):
            return self.cache.write(Origin(self.network, self.arguments, self.plugin_dirs), results)

    def _results(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Result]:
        found = {attachment: self.cache.read(attachment) for attachment in attachments}
        return {each: cached.result for each, cached in found.items() if cached is not None}

    def _with(self, arguments: Arguments) -> Runtime:
        """The same with other arguments, such as those of a cached ADD."""
        if arguments == self.arguments:
            return self
        return Runtime(
            self.network,
            self._plugins,
            self._cache_dir,
            plugin_dirs=self.plugin_dirs,
            arguments=arguments,
            timeout=self._timeout,
        )

    def _is_cached(self, attachment: Attachment, result: Result) -> bool:
        cached = self.cache.read(attachment)
        version = self.network.cni_version
        return (
            cached is not None
            and cached.config == self.network.source
            and cached.attachment == attachment
            and cached.result.to_json(version) == result.to_json(version)
        )
