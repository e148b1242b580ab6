"""The one engine of podwire's plugins: ADD, CHECK and repair, for one attachment and for hundreds.

ADD reserves addresses, then builds, and leaves nothing of an attachment when that fails. What it finds it does not
touch: an interface that is there already is an error, shared devices are adopted (adoption.py), a destination to which
the container has another route stays with that. Attachments of one call do not share their fate: when the converge of
all fails (and was rolled back), halves of them are tried, so that those at fault are found and the others attached.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from ...converge import converge
from ...errors import (
    CNI_UNSUPPORTED_FIELD,
    CniError,
    ConflictError,
    KernelError,
    PodwireError,
    UnsupportedError,
)
from ...kernel.announce import announce, stale_neighbours, wait_for_dad
from ...kernel.lock import namespace_lock
from ...startup_typing import TYPE_CHECKING, Callable
from ..plugins.plugin import Projection
from ..spec.cmdargs import lacks_previous
from ..spec.failure import as_cni_error
from ..spec.result import Result, ResultIp
from .adoption import Adoption
from .ipam import Ipam
from .namespaces import Namespaces
from .removal import Removal
from .step import Answers
from .targets import node_target, targets, union, without_rivals

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

    from ..plugins.plugin import Plugin
    from ..spec.netconf import Attachment, NetConf

#: Up to so many attachments' addresses are looked for one by one in the node's neighbour table.
_FEW = 4


class Engine(Removal):
    """Plugins of the network ``name`` that come one after the other in its list, with the IPAM of one of them.

    ``exact``: whether podwire's own bridges are there for this list alone.
    """

    def __init__(self, name: str, chain: Sequence[Tuple[NetConf, Plugin]], ipam: Ipam, *, exact: bool = False) -> None:
        super().__init__(name, chain, ipam)
        self._exact = exact
        self._makes_interface = any(plugin.makes_interface for _, plugin in chain)

    # --- ADD -----------------------------------------------------------------------------------------

    def add(self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]) -> Answers:
        """Everything in the kernel, or the error. ``previous``: the results of the plugins before these."""
        with Namespaces() as namespaces:
            errors = self._refused(attachments, previous, namespaces)
            sound = [attachment for attachment in attachments if attachment not in errors]
            self._validate(sound, previous)
            given: Dict[Attachment, Optional[Result]] = {}
            for attachment, answer in self.ipam.reserve(sound).items() if sound else ():
                if isinstance(answer, CniError):
                    errors[attachment] = answer
                else:
                    given[attachment] = answer
            try:
                answers = self._build(given, previous, namespaces) if given else Answers({}, {})
            except BaseException:
                self._release(list(given))
                raise
            self._release(list(answers.errors))
        return answers.with_errors(errors)

    def _refused(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result], namespaces: Namespaces
    ) -> Dict[Attachment, CniError]:
        if not self._makes_interface:
            lacking = [attachment for attachment in attachments if attachment not in previous]
            errors = {attachment: lacks_previous(self._chain[0][0], "ADD") for attachment in lacking}
            return {**errors, **namespaces.open_all(attachments)}
        errors = namespaces.open_all(attachments)
        return {**errors, **self._occupied([each for each in attachments if each not in errors], namespaces)}

    def _occupied(self, attachments: Iterable[Attachment], namespaces: Namespaces) -> Dict[Attachment, CniError]:
        if not self._makes_interface:
            return {}
        return namespaces.occupied({attachment: self._devices(attachment) for attachment in attachments})

    def _validate(self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]) -> None:
        """A configuration that makes no sense is refused before IPAM is asked."""
        if attachments and any(conf.data.get("ipam") for conf, _ in self._chain):
            sample = Result((), (ResultIp(ip_interface("192.0.2.2/24"), ip_address("192.0.2.1")),))
            self._project(attachments[0], sample, previous.get(attachments[0]))

    def _release(self, attachments: Sequence[Attachment]) -> None:
        """After an error, which is what matters."""
        if attachments:
            try:
                self.ipam.prepare_release(attachments)()
            except PodwireError as error:
                import sys

                print(f"{self._chain[0][0].type}: {error}", file=sys.stderr)

    def _build(
        self,
        given: Mapping[Attachment, Optional[Result]],
        previous: Mapping[Attachment, Result],
        namespaces: Namespaces,
    ) -> Answers:
        with namespace_lock(namespaces.node):  # another ADD of the same may have come first since
            errors = self._occupied(given, namespaces)
            adoption = Adoption(namespaces.node, exact=self._exact)
            projections: Dict[Attachment, Projection] = {}
            for attachment, ipam in given.items():
                try:
                    if attachment not in errors:
                        projections[attachment] = self._project(attachment, ipam, previous.get(attachment), adoption)
                except CniError as error:
                    errors[attachment] = error
            adoption.clear()
            try:
                answers = self._converge_all(projections, namespaces, adoption, exact=self._exact)
            except BaseException:
                adoption.restore()
                raise
            if not answers.results:
                adoption.restore()
        try:
            failed = self._settle({each: projections[each] for each in answers.results}, namespaces)
        except BaseException:
            self._remove(answers, list(answers.results), namespaces)
            raise
        self._remove(answers, list(failed), namespaces)
        return answers.with_errors({**errors, **failed})

    def _remove(self, answers: Answers, failed: List[Attachment], namespaces: Namespaces) -> None:
        """What this ADD made: where nothing was to be done, all of it was there before."""
        if answers.operations and failed:
            self._remove_rules(failed, {}, namespaces.node)
            self._remove_devices(failed, namespaces.node)

    def _project(
        self,
        attachment: Attachment,
        ipam: Optional[Result],
        previous: Optional[Result],
        adoption: Optional[Adoption] = None,
    ) -> Projection:
        """What all plugins want for an attachment."""
        whole = Projection(previous or Result())
        for conf, plugin in self._chain:
            projection = plugin.project(conf, attachment, ipam if conf.data.get("ipam") else None, previous)
            if adoption is not None:
                projection = adoption.adopt(conf, plugin, projection)
            whole, previous = projection.after(whole), projection.result
        return whole

    # --- converge ------------------------------------------------------------------------------------

    def _converge_all(
        self,
        projections: Mapping[Attachment, Projection],
        namespaces: Namespaces,
        adoption: Adoption,
        *,
        check: bool = False,
        exact: bool = False,
    ) -> Answers:
        results = {attachment: projection.result for attachment, projection in projections.items()}

        def attempt(part: Mapping[Attachment, Projection]) -> Answers:
            planned = targets(part, namespaces, adoption.foreign, exact=exact)
            return Answers(results, {}, converge(planned, check=check).operations)

        try:
            return attempt(projections)
        except PodwireError as error:
            if isinstance(error, (ConflictError, KernelError)) and not isinstance(error, UnsupportedError):
                rest = without_rivals(projections, namespaces)
                if rest != projections:
                    return self._converge_all(rest, namespaces, adoption, check=check, exact=exact)
            if len(projections) == 1:
                return Answers(results, dict.fromkeys(projections, self._as_cni_error(error))).with_errors({})
        return self._converge_halves(projections, namespaces, attempt, check)

    def _converge_halves(
        self,
        projections: Mapping[Attachment, Projection],
        namespaces: Namespaces,
        attempt: Callable[[Mapping[Attachment, Projection]], Answers],
        check: bool,
    ) -> Answers:
        """After the converge of all failed: what they share first (if that is what fails, it fails for
        all), then halves, and halves of the halves that fail."""
        results = {attachment: projection.result for attachment, projection in projections.items()}
        errors: Dict[Attachment, CniError] = {}
        shared = node_target(namespaces.node, union(projection.shared for projection in projections.values()))
        try:
            operations = converge([shared], check=check).operations
        except PodwireError as error:
            return Answers({}, dict.fromkeys(projections, self._as_cni_error(error)))
        pending = [list(projections)]
        while pending:
            group = pending.pop()
            try:
                operations += attempt({attachment: projections[attachment] for attachment in group}).operations
            except PodwireError as error:
                if len(group) == 1:
                    errors[group[0]] = self._as_cni_error(error)
                else:
                    middle = len(group) // 2
                    pending += [group[:middle], group[middle:]]
        return Answers(results, {}, operations).with_errors(errors)

    def _as_cni_error(self, error: PodwireError) -> CniError:
        """What the kernel lacks, in the words of whoever asked for it."""
        if isinstance(error, UnsupportedError):
            for conf, plugin in self._chain:
                words = plugin.optional_features(conf)
                if words:
                    message = f"network {conf.name}, plugin {conf.type}: {words} is not supported: {error.message}"
                    return CniError(CNI_UNSUPPORTED_FIELD, message, error.hint)
        return as_cni_error(error)

    # --- after it ------------------------------------------------------------------------------------

    def _settle(
        self, projections: Mapping[Attachment, Projection], namespaces: Namespaces
    ) -> Dict[Attachment, CniError]:
        """What comes when everything is there: what is not in the model, duplicate address detection, and the news
        for neighbours. The errors of attachments that it fails for."""
        errors: Dict[Attachment, CniError] = {}
        for attachment, projection in projections.items():
            try:
                for conf, plugin in self._chain:
                    plugin.after_add(conf, attachment, projection.result, namespaces.node)
                addresses = projection.pod.addresses
                if any(address.interface.version == 6 and not address.nodad for address in addresses):
                    wait_for_dad(namespaces[attachment], addresses)
            except PodwireError as error:
                errors[attachment] = as_cni_error(error)
        self._announce({each: projections[each] for each in projections if each not in errors}, namespaces)
        return errors

    def _announce(self, projections: Mapping[Attachment, Projection], namespaces: Namespaces) -> None:
        """Tell the neighbours of addresses that were at another MAC address before. podwire's own follow from the
        address (plugins.naming.mac_of); another plugin's may have been any."""
        places = {
            address.interface.ip: link.mac
            for projection in projections.values()
            for link in projection.pod.links
            for address in projection.pod.addresses
            if link.mac is not None and link.name == address.device
        }
        devices: Optional[List[str]] = None
        if len(projections) <= _FEW:
            devices = sorted({link.name for projection in projections.values() for link in projection.shared.links})
        moved = stale_neighbours(namespaces.node, places, devices) if places else frozenset()
        for attachment, projection in projections.items() if moved else ():
            if not moved.isdisjoint(address.interface.ip for address in projection.pod.addresses):
                announce(namespaces[attachment], projection.pod.links)

    # --- CHECK, repair, dry run ----------------------------------------------------------------------

    def check(self, previous: Mapping[Attachment, Result]) -> Dict[Attachment, CniError]:
        """What ADD made is still there. More than that is no error: later plugins add to it."""
        from .checking import as_left, lacking, not_as_left

        errors = self.ipam.check(list(previous))
        with Namespaces() as namespaces:
            errors.update(namespaces.open_all(each for each in previous if each not in errors))
            adoption = Adoption(namespaces.node)
            projections: Dict[Attachment, Projection] = {}
            for attachment, result in previous.items():
                try:
                    if attachment not in errors:
                        own = result.of_interface(attachment.ifname)
                        projections[attachment] = as_left(self._project(attachment, own, result, adoption), result)
                except CniError as error:
                    errors[attachment] = error
            answers = self._converge_all(projections, namespaces, adoption, check=True)
            errors.update(answers.errors)
            for attachment, missing in lacking(answers, self.owners(answers.results)).items():
                for conf, plugin in self._chain:
                    missing += plugin.lacking(conf, attachment, previous[attachment], namespaces.node)
                if missing:
                    errors[attachment] = not_as_left(attachment, missing)
        return errors

    def check_exactly(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        """CHECK where no other plugin comes after these: MTU, more addresses and the like count as well."""
        from .checking import differing, not_as_left

        errors = self.ipam.check(attachments)
        held = self.ipam.held(each for each in attachments if each not in errors)
        answers = self.repair({each: result for each, result in held.items() if result is not None}, check=True)
        errors.update(answers.errors)
        for attachment, operations in differing(answers, self.owners(answers.results)).items():
            if operations:
                errors[attachment] = not_as_left(attachment, operations)
        return errors

    def repair(self, held: Mapping[Attachment, Result], *, check: bool = False) -> Answers:
        """Make attachments that hold these addresses look as this configuration wants, and a bridge of podwire's own
        likewise. With ``check`` nothing is changed; the operations are what differs."""
        if not held:
            return Answers({}, {})
        with Namespaces() as namespaces:
            errors = namespaces.open_all(held)
            with namespace_lock(namespaces.node):
                adoption = Adoption(namespaces.node, exact=True)
                projections: Dict[Attachment, Projection] = {}
                for attachment, ipam in held.items():
                    try:
                        if attachment not in errors:
                            projections[attachment] = self._project(attachment, ipam, None, adoption)
                    except CniError as error:
                        errors[attachment] = error
                answers = self._converge_all(projections, namespaces, adoption, check=check, exact=True)
            return answers.with_errors(errors)

    def dry_run(self, attachments: Sequence[Attachment]) -> Answers:
        """What ``add`` would answer, and the operations on what attachments share. Changes nothing, and needs no
        container's namespace. If addresses are short, the last attachments are left out."""
        given = self.ipam.preview(len(attachments))
        with Namespaces() as namespaces:
            adoption = Adoption(namespaces.node, exact=self._exact)
            projections = {each: self._project(each, ipam, None, adoption) for each, ipam in zip(attachments, given)}
            union_of_shared = union(projection.shared for projection in projections.values())
            exact = self._exact and not adoption.foreign
            shared = node_target(namespaces.node, union_of_shared, exact=exact)
            operations = converge([shared], check=True).operations if projections else ()
        return Answers({each: projection.result for each, projection in projections.items()}, {}, operations)
