"""The runtime side of CNI, libcni's part: runs a network's list of plugins for attachments (CNI spec 1.1.0, section 3).

Plugins of podwire's own run in this process, consecutive ones together and for many attachments at once (the engine);
all others are executed, attachment by attachment (``external``). Attachments of one call do not share their fate; what
failed keeps nothing that this call made, and has no cached result. An attachment that exists already is refused.

Order makes a kill harmless. ADD reserves, then builds, then caches; DEL takes away the devices, then the addresses,
then the cache. So whatever is left of an attachment, its address or its cached result is evidence of it, and a DEL (or
``stale``, which finds them) removes the rest: device names follow from the attachment.
"""

from __future__ import annotations

import os
from itertools import groupby

from ...errors import CNI_CONFLICT, CNI_INCOMPATIBLE_VERSION, CNI_KERNEL_FAILURE, CniError, PodwireError
from ...ipam.store import Claim
from ...kernel.lock import locked
from ...model.objects import IptablesRule, Rule
from ...startup_typing import TYPE_CHECKING
from ..engine.checking import subject_of
from ..engine.engine import Engine
from ..engine.step import Answers
from ..plugins.base import NODE
from ..plugins.plugin import Plugin
from ..spec.arguments import Arguments
from ..spec.failure import as_cni_error
from ..spec.netconf import Attachment, refuse_own_namespace
from ..spec.netlist import NetConfList
from ..spec.result import Result
from .cache import CACHE_DIR, Cache, Cached, Origin, cached_of_all_networks
from .chain import make_chain
from .external import is_vacant

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set

    from ..engine.step import Operations

__all__ = ["Answers", "Runtime"]


class Runtime:
    """One network's plugins, in the caller's network and mount namespace.

    plugins:     those that can run in this process, by type.
    cache_dir:   libcni's, which also holds the lock.
    plugin_dirs: where plugins are looked for first; one found there that is not podwire's is executed.
    arguments:   CNI_ARGS and capability arguments of all attachments.
    timeout:     seconds that an executed plugin may take; None for as long as it likes.
    exact:       whether a bridge that podwire made is there for this network alone: then it is as the list says, and
                 has nothing that the list does not say.
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
        exact: bool = False,
    ) -> None:
        self.network = network
        self.cache = Cache(cache_dir, network.name)
        self.arguments = arguments or Arguments()
        self._cache_dir = cache_dir
        self.plugin_dirs = tuple(plugin_dirs)
        self._plugins, self._timeout, self._exact = plugins, timeout, exact
        self._lock = os.path.join(cache_dir, "podwire.lock")
        self._steps = make_chain(network, plugins, plugin_dirs, self.arguments, timeout, exact=exact)
        first = self._steps[0]
        self._only = first if len(self._steps) == 1 and isinstance(first, Engine) else None

    @property
    def executes(self) -> bool:
        """Whether any plugin is called attachment by attachment, so that nothing can be foreseen, and nothing
        repaired in place."""
        return self._only is None

    # --- the operations of the specification -----------------------------------------------------

    def add(self, attachments: Sequence[Attachment]) -> Answers:
        """ADD. An attachment whose interface exists already is an error, and stays as it is."""
        answers = Answers({}, self._refused(attachments))
        going = [attachment for attachment in attachments if attachment not in answers.errors]
        previous: Dict[Attachment, Result] = {}
        passed = 0
        caching = False
        try:
            for step in self._steps if going else ():
                done = step.add(going, previous)
                answers = Answers(done.results, {**answers.errors, **done.errors}, answers.operations + done.operations)
                self._undo([attachment for attachment in going if attachment in done.errors], passed)
                going, previous = list(done.results), done.results
                passed += 1
            caching = True
            errors = self._write_cache(answers.results)
            self._undo(list(errors), passed)
        except BaseException:
            self._undo(going, passed)
            for attachment in going if caching else ():
                self.cache.remove(attachment)
            raise
        return self._name_holders(answers.with_errors(errors))

    def _refused(self, attachments: Iterable[Attachment]) -> Dict[Attachment, CniError]:
        """Those that make no sense, and those that are attached."""
        errors: Dict[Attachment, CniError] = {}
        for attachment in attachments:
            try:
                attachment.validate()
                refuse_own_namespace(attachment.netns)
                cached = self.cache.read(attachment)
                if cached is not None and attachment.ifname != "lo" and not is_vacant(attachment):
                    raise _held_by(cached, attachment)
            except CniError as error:
                errors[attachment] = error
        return errors

    def _name_holders(self, answers: Answers) -> Answers:
        """With the network that has an interface which exists already, where some runtime cached that."""
        occupied = {each.claim: each for each, error in answers.errors.items() if error.code == CNI_CONFLICT}
        for cached in cached_of_all_networks(self._cache_dir) if occupied else ():
            attachment = occupied.get(cached.attachment.claim)
            if attachment is not None and not is_vacant(attachment):
                answers.errors[attachment] = _held_by(cached, attachment)
        return answers

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        """CHECK: the errors of those that are not as ADD left them; empty if all is well."""
        if not self.network.speaks("0.4.0"):
            version = self.network.cni_version
            message = f"configuration version {version!r} does not support CHECK"
            raise CniError(CNI_INCOMPATIBLE_VERSION, message, "it came with 0.4.0")
        if self.network.disable_check:
            return {}
        previous = self._results(attachments)
        errors = {
            attachment: CniError(CNI_KERNEL_FAILURE, f"{attachment.name} has no cached result of ADD")
            for attachment in attachments
            if attachment not in previous
        }
        if self._only is not None:
            return {**errors, **self._only.check_exactly(list(previous))}
        for step in self._steps:
            sound = {attachment: result for attachment, result in previous.items() if attachment not in errors}
            errors.update(step.check(sound))
        return errors

    def delete(self, attachments: Iterable[Attachment]) -> Dict[Attachment, CniError]:
        """DEL: last plugin first, with the final result of ADD; then forget it. What is not there is no
        error, and neither is a namespace that is gone. The errors of attachments that executed plugins failed
        for: they keep their cached result, for another DEL."""
        gone = list(attachments)
        previous = self._results(gone)
        errors: Dict[Attachment, CniError] = {}
        for step in reversed(self._steps):
            errors.update(step.delete([attachment for attachment in gone if attachment not in errors], previous))
        for attachment in gone:
            if attachment not in errors:
                self.cache.remove(attachment)
        return errors

    def collect(self, valid: Iterable[Attachment]) -> List[CniError]:
        """GC: whatever is cached and not valid is DELed; then the plugins collect what else there is (from
        1.1.0 on). Goes on after errors and gives them all."""
        if self.network.disable_gc:
            return []
        keep = list(valid)
        claims = {attachment.claim for attachment in keep}
        errors: List[CniError] = []
        stale = [cached for cached in self.cache.all() if cached.attachment.claim not in claims]
        for arguments, group in groupby(stale, key=lambda cached: cached.arguments):
            errors += self._with(arguments).delete([cached.attachment for cached in group]).values()
        for step in self._steps if self.network.speaks("1.1.0") else ():
            try:
                step.collect(keep)
            except PodwireError as error:
                errors.append(as_cni_error(error))
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

    def repair(self, held: Mapping[Attachment, Result], *, check: bool = False) -> Answers:
        """Make attachments that hold these addresses look as this configuration wants: what CHECK would
        find is repaired, also eth0 gone or another MTU. With ``check`` nothing is changed; the operations
        are what CHECK finds, and so are the errors of attachments that cannot be looked at.

        Where plugins are executed, what CHECK finds is an error: they can only be attached anew.
        """
        if self._only is None:
            able = self.network.speaks("0.4.0")
            return Answers(self._results(held), {}).with_errors(self.check(list(held)) if able else {})
        answers = self._only.repair(held, check=check)
        if check:
            return answers
        differing = {each: result for each, result in answers.results.items() if not self._is_cached(each, result)}
        return answers.with_errors(self._write_cache(differing))

    def shared(self, answers: Answers) -> Operations:
        """The operations on what attachments share, of those that ADD needed."""
        if self._only is None:
            return ()
        own = {name for each in (*answers.results, *answers.errors) for name in self.devices(each)}
        return tuple(
            (where, operation)
            for where, operation in answers.operations
            if where == NODE
            and not isinstance(operation.object, (Rule, IptablesRule))
            and subject_of(operation) not in own
        )

    def devices(self, attachment: Attachment) -> Set[str]:
        """The node's devices that belong to the attachment alone, as far as podwire's own plugins made them."""
        return {name for step in self._steps for name in step.devices(attachment)}

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Result]]:
        """The addresses that attachments hold, where they are of this configuration's ranges; else None.
        Executed plugins keep them to themselves: that there is a cached result is all that is known."""
        if self._only is not None:
            return self._only.ipam.held(attachments)
        return {attachment: Result() if self.cache.read(attachment) else None for attachment in attachments}

    def stale(self, valid: Set[Claim]) -> List[Attachment]:
        """Attachments that left an address or a cached result, and are none of the valid ones (for GC)."""
        claims = {cached.attachment.claim: cached.attachment for cached in self.cache.all()}
        for step in self._steps:
            for claim in step.stale(valid):
                claims.setdefault(claim, Attachment(claim.container_id, claim.ifname))
        return [attachment for claim, attachment in claims.items() if claim not in valid]

    # --- the parts -------------------------------------------------------------------------------

    def _undo(self, failed: Sequence[Attachment], passed: int) -> None:
        """DEL by the steps that an ADD has passed, last first. What goes wrong here is left to the DEL that the
        specification wants of whoever asked for the ADD."""
        for step in reversed(self._steps[:passed]) if failed else ():
            step.delete(failed, {})

    def _write_cache(self, results: Mapping[Attachment, Result]) -> Dict[Attachment, CniError]:
        with locked(self._lock):
            return self.cache.write(Origin(self.network, self.arguments, self.plugin_dirs), results)

    def _results(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Result]:
        read = {attachment: self.cache.read(attachment) for attachment in attachments}
        return {attachment: cached.result for attachment, cached in read.items() if cached is not None}

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
            exact=self._exact,
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


def _held_by(cached: Cached, attachment: Attachment) -> CniError:
    """The error for an attachment that exists already."""
    addresses = ", ".join(str(ip.address) for ip in cached.result.ips) or "no address"
    return CniError(
        CNI_CONFLICT,
        f"{attachment.ifname} of container {attachment.container_id} already exists in {attachment.netns}: "
        f"network {cached.network} attached it ({addresses})",
        "detach it first (DEL)",
    )
