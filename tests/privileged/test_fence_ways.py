"""Which way to a closed namespace is taken, and how it is refused when there is none."""

import os
import subprocess
import sys
import time

import pytest
from support.fences import WORKLOAD, as_user, become, enter, forbid, keep_capabilities
from support.forked import CLONE_NEWNET, CLONE_NEWUSER, in_child
from support.namespaces import in_own_user_namespace

from supervisor.errors import Refusal
from supervisor.fence import construction, setup
from supervisor.fence.compare import require_equal
from supervisor.fence.namespace import ruleset
from supervisor.fence.request import Served
from supervisor.fence.setup import create_namespace
from supervisor.fence.surroundings import (
    CAP_NET_ADMIN,
    CAP_SETFCAP,
    CAP_SETGID,
    CAP_SETUID,
    CAP_SYS_ADMIN,
)
from supervisor.kernel import nftables
from supervisor.kernel.netlink import NetlinkError
from supervisor.kernel.ruleset import AtMost, Redirect, Rule, Table, Verdict


def refusal_of(function):
    try:
        return function()
    except Refusal as refusal:
        return refusal.code.name, refusal.cause, refusal.remedy


def test_with_sys_admin_and_net_admin_no_user_namespace_is_made():
    def work():
        keep_capabilities({CAP_SYS_ADMIN, CAP_NET_ADMIN})
        return create_namespace(None).report

    report = in_child(work)

    assert (report.form, report.user_namespace) == ("namespace", False)


@pytest.mark.parametrize("missing", [CAP_SYS_ADMIN, CAP_NET_ADMIN])
def test_root_without_one_of_them_gets_a_user_namespace_with_all_its_ids(missing):
    def work():
        keep_capabilities(
            {CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SETUID, CAP_SETGID, CAP_SETFCAP} - {missing}
        )
        fence = create_namespace(None)
        enter(fence)
        become(WORKLOAD)
        return fence.report.user_namespace, maps(), os.getresuid()

    own, mapped, uids = in_child(work)

    assert own
    assert mapped == {"uid": "0 0 4294967295", "gid": "0 0 4294967295"}
    assert uids == (WORKLOAD, WORKLOAD, WORKLOAD)


def test_without_setfcap_uid_0_stays_unmapped():
    def work():
        keep_capabilities({CAP_SETUID, CAP_SETGID})
        enter(create_namespace(None))
        become(WORKLOAD)
        return maps(), os.getuid()

    mapped, uid = in_child(work)

    assert mapped == {"uid": "1 1 4294967294", "gid": "0 0 4294967295"}
    assert uid == WORKLOAD


def maps():
    found = {}
    for kind in ("uid", "gid"):
        with open(f"/proc/self/{kind}_map") as lines:
            found[kind] = " ".join(lines.read().split())
    return found


def test_a_non_dumpable_user_can_still_make_one():
    def work():

        prctl.set_dumpable(False)
        return create_namespace(None).report.user_namespace

    import prctl

    assert as_user(WORKLOAD, work)


def test_where_seccomp_forbids_it_the_refusal_says_so_and_what_helps():
    def work():
        forbid("unshare")
        return refusal_of(lambda: create_namespace(None))

    code, cause, remedy = as_user(WORKLOAD, work)

    assert code == "fence.not-possible"
    assert "user and network namespace: unshare: Operation not permitted" in cause
    assert "CAP_SYS_ADMIN and CAP_NET_ADMIN missing" in cause
    assert "seccomp" in cause
    assert "--network none" in remedy


def test_where_a_user_namespace_gives_no_capability_the_form_is_not_possible():
    """AppArmor on Ubuntu: unshare(2) works, and then every netlink request is EPERM."""

    def work():
        forbid("sendto")  # ours: netlink goes by sendto, what the helper tells us by sendmsg
        return refusal_of(lambda: create_namespace(None))

    code, cause, _ = as_user(WORKLOAD, work)

    assert code == "fence.not-possible"
    assert cause.startswith("loopback, addresses and routes: link lo up: Operation not permitted")


def test_where_the_sysctl_forbids_user_namespaces_the_refusal_names_it():
    def work():
        # The limit is per user namespace, so the machine's own is not touched.
        with open("/proc/sys/user/max_user_namespaces", "w") as limit:
            limit.write("0")
        keep_capabilities(set())
        return refusal_of(lambda: create_namespace(None))

    code, cause, _ = in_child(lambda: in_own_user_namespace(work, CLONE_NEWUSER))

    assert code == "fence.not-possible"
    assert "user.max_user_namespaces is 0" in cause


def test_a_namespace_that_has_only_lo_counts_as_fenced():
    def work():
        forbid("unshare")
        return create_namespace(None).report

    report = in_child(lambda: as_user(WORKLOAD, work), unshare=CLONE_NEWNET)

    assert (report.form, report.rules) == ("loopback-only", 0)


def test_a_namespace_that_has_only_lo_is_refused_when_egress_is_to_be_served():
    def work():
        forbid("unshare")
        return refusal_of(lambda: create_namespace(Served()))

    code, cause, _ = in_child(lambda: as_user(WORKLOAD, work), unshare=CLONE_NEWNET)

    assert code == "fence.not-possible"
    assert "only lo" in cause


def test_a_helper_that_dies_is_a_refusal():
    def work():
        return refusal_of(lambda: setup.run_child(lambda end, deadline: os._exit(3)))

    assert in_child(work)[0] == "fence.setup-failed"


def test_a_helper_that_hangs_is_ended_and_refused(monkeypatch):
    monkeypatch.setattr(setup, "SETUP_TIMEOUT_S", 0.2)

    def work():
        answer = refusal_of(lambda: setup.run_child(lambda end, deadline: time.sleep(600)))
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return answer

    assert in_child(work)[0] == "fence.setup-timed-out"


def test_the_monitor_imports_neither_the_codec_nor_ipaddress():
    program = (
        "import sys; from supervisor.fence.setup import create_namespace; create_namespace(None);"
        "print([name for name in sys.modules if name.startswith(('pyroute2', 'ipaddress'))])"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def changed(table: Table) -> Table:
    """The table with one refusal turned into an accept."""
    output, *rest = table.chains
    *rules, last = output.rules
    opened = Rule(comment=last.comment, statements=last.statements, ending=Verdict.ACCEPT)
    return table._replace(chains=(output._replace(rules=(*rules, opened)), *rest))


def test_a_rule_that_differs_in_the_kernel_is_found_and_named():
    def work():
        asked = ruleset(None)
        with nftables.open_socket() as channel:
            flags = nftables.install(channel, changed(asked))
            held = nftables.read_back(channel, asked.name)
            return refusal_of(lambda: require_equal(held, nftables.expected(asked, flags)))

    code, cause, _ = in_child(work, unshare=CLONE_NEWNET)

    assert code == "fence.read-back-differs"
    assert cause.startswith("rule 7 of chain output is 'blocked out'")


def test_installing_is_refused_when_the_kernel_made_something_else_of_it():
    def work():
        # The kernel takes a burst of 0 for its own default of 5.
        rule = Rule(comment="limited", matches=(AtMost(10, 0),), ending=Verdict.ACCEPT)
        output, *rest = ruleset(None).chains
        table = ruleset(None)._replace(chains=(output._replace(rules=(rule,)), *rest))
        return refusal_of(lambda: construction.install(table))

    code, cause, _ = in_child(work, unshare=CLONE_NEWNET)

    assert code == "fence.read-back-differs"
    assert "'limited'" in cause


def test_a_table_that_is_gone_is_found():
    def work():
        asked = ruleset(None)
        with nftables.open_socket() as channel:
            flags = nftables.install(channel, asked)
            nftables.remove(channel, asked.name)
            held = nftables.read_back(channel, asked.name)
            return refusal_of(lambda: require_equal(held, nftables.expected(asked, flags)))

    assert in_child(work, unshare=CLONE_NEWNET)[1] == "the table is gone"


def test_one_bad_rule_leaves_nothing_of_the_batch():
    def work():
        table = ruleset(None)
        output, *rest = table.chains
        # Redirecting is for nat chains: the kernel refuses this rule, the last one of all.
        bad = Rule(comment="bad", ending=Redirect(80))
        broken = table._replace(chains=(*rest, output._replace(rules=(*output.rules, bad))))
        with nftables.open_socket() as channel:
            with pytest.raises(NetlinkError) as refused:
                nftables.install(channel, broken)
            return str(refused.value), nftables.read_back(channel, table.name)

    message, held = in_child(work, unshare=CLONE_NEWNET)

    assert message.startswith("rule sandbox_supervisor output 'bad': ")
    assert held is None


def test_replacing_a_table_that_fails_keeps_the_old_one():
    def work():
        table = ruleset(None)
        *rest, last = table.chains
        bad = Rule(comment="bad", ending=Redirect(80))
        with nftables.open_socket() as channel:
            flags = nftables.install(channel, table)
            with pytest.raises(NetlinkError):
                nftables.install(
                    channel, table._replace(chains=(*rest, last._replace(rules=(bad,))))
                )
            held = nftables.read_back(channel, table.name)
        require_equal(held, nftables.expected(table, flags))

    in_child(work, unshare=CLONE_NEWNET)


def test_without_the_capability_the_batch_fails_at_once_instead_of_hanging():
    def work():
        with nftables.open_socket() as channel, pytest.raises(NetlinkError) as refused:
            nftables.install(channel, ruleset(None))
        return str(refused.value)

    assert as_user(WORKLOAD, work).endswith("Operation not permitted")
